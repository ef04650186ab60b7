"""Streams of iperf3 from one namespace to a host of another, as loads of benches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from tests.e2e.netns import Namespace
from tests.e2e.wait import wait_until

PORT: Final = 5201


@contextmanager
def serving(namespace: Namespace, port: int = PORT) -> Iterator[None]:
    """iperf3 waits there for streams."""
    server = namespace.start("iperf3", "-s", "-p", str(port))
    try:
        wait_until(
            lambda: f":{port}" in namespace.run("ss", "-Hltn").stdout,
            "iperf3",
            detail=server.report,
        )
        yield
    finally:
        server.close()


def stream(sending: Namespace, host: str, seconds: float, *options: str) -> float:
    """Gbit that have arrived in whole seconds, one at least, for each of them."""
    received = _run(sending, host, seconds, *options)
    return float(received["bits_per_second"]) / 1e9


def transferred(sending: Namespace, host: str, seconds: float, *options: str) -> float:
    """Gbit that have arrived."""
    return float(_run(sending, host, seconds, *options)["bytes"]) * 8 / 1e9


def _run(sending: Namespace, host: str, seconds: float, *options: str) -> dict[str, Any]:
    length = str(max(1, round(seconds)))
    done = sending.run("iperf3", "-J", "-c", host, "-t", length, *options)
    found = json.loads(done.stdout)
    if "sum_received" not in found.get("end", {}):
        raise AssertionError(f"iperf3 to {host}: {found.get('error', done.stdout)}")
    received: dict[str, Any] = found["end"]["sum_received"]
    return received
