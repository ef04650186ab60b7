"""Requests to the web process of a router in a namespace."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.netns import Namespace
from tests.e2e.processes import Process
from tests.e2e.sockets import within
from tests.e2e.tunrouter import PROGRAM, rules
from tests.e2e.wait import BOUND_S

PORT: Final = 9469
URL: Final = f"http://127.0.0.1:{PORT}"
WEB: Final = f'web: {{listen: "127.0.0.1:{PORT}"}}\n'

Metrics = dict[tuple[str, ...], float]


def web_rules(*lines: str, web: str = WEB) -> str:
    return rules(*lines) + web


def get(namespace: Namespace, path: str, *options: str, url: str = URL) -> str:
    return namespace.run("curl", "-sS", "--fail", "-m", "30", *options, f"{url}{path}").stdout


def get_json(namespace: Namespace, path: str, *options: str) -> Any:
    return json.loads(get(namespace, path, *options))


def is_served(namespace: Namespace, url: str = URL) -> bool:
    done = namespace.run("curl", "-s", "-m", "5", "--fail", f"{url}/api/status", check=False)
    return done.returncode == 0


def metrics(namespace: Namespace) -> Metrics:
    """By name without its prefix, and the values of the labels in the order of their names."""
    found = {}
    for family in text_string_to_metric_families(get(namespace, "/metrics")):
        for sample in family.samples:
            labels = (sample.labels[name] for name in sorted(sample.labels))
            found[(sample.name.removeprefix("tunrouter_"), *labels)] = sample.value
    return found


def connected(namespace: Namespace) -> socket.socket:
    """A connection to the web process."""

    def connect() -> socket.socket:
        return socket.create_connection(("127.0.0.1", PORT), BOUND_S)

    return within(namespace, connect)


@contextmanager
def web_by_hand(namespace: Namespace, *options: str) -> Iterator[Process]:
    """`tunrouter web`, serving."""
    process = namespace.start(PROGRAM, "web", *options)
    try:
        process.wait_for_output("web page: ")
        yield process
        assert process.stop() == 0, process.report()
        assert "Traceback" not in process.stderr, process.stderr
    finally:
        process.close()
