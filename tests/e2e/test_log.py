"""The log as programs read it, and what stands in it at which level."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import ping
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import Tunrouter, rules, run_to_end, running, write_rules
from tests.e2e.wait import wait_until

FAR = V4.far(1)
DIRECT = V4.far(2)
COUNTED = "1 packets, 84 bytes out; 1 packets, 84 bytes in"
LOG = ("--log-format", "json", "--log-level")
WRITTEN = rules(f"{FAR} -> relayed", f"{DIRECT} -> home").replace(
    "policies:\n", "policies:\n  relayed: {type: direct, interface: eth0, path: relay}\n"
).replace("  office: {type: vpn, interface: wg0}\n", "")  # fmt: skip


def events(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines()]


def messages(router: Tunrouter, level: str) -> list[str]:
    return [each["message"] for each in events(router.log) if each["level"] == level]


@pytest.fixture(scope="module")
def router(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tunrouter]:
    directory = tmp_path_factory.mktemp("logged")
    with running(bed.router, directory, WRITTEN, options=(*LOG, "debug")) as started:
        yield started


def test_flows_are_at_debug_alone(bed: Testbed, router: Tunrouter) -> None:
    for host in (FAR, DIRECT):
        ping.answered(bed.router, host, count=1)
    assert bed.router.run("bash", "-c", f"exec 3<>/dev/tcp/{FAR}/9", check=False).returncode
    begun = [each for each in messages(router, "debug") if each.startswith("flow begun: ")]
    assert any(f" to {FAR} id " in each and "rule 1, policy relayed" in each for each in begun)
    wait_until(
        lambda: any(f"to {FAR}:9 by rule 1" in each for each in messages(router, "debug")),
        "the connection",
        detail=lambda: router.log,
    )
    assert any(
        each.startswith("leaves directly: ") and f"{DIRECT} by rule 2, policy home, eth0" in each
        for each in messages(router, "debug")
    )
    router.rules_file.write_text(WRITTEN.replace("policy: relayed", "policy: drop"))
    bed.router.run("kill", "-HUP", str(router.pid))
    wait_until(
        lambda: any(
            each.startswith("flow ended: icmp ")
            and "1 packets, 84 bytes out; 1 packets, 84" in each
            for each in messages(router, "debug")
        ),
        "the end of the flow",
        detail=lambda: router.log,
    )
    assert not any(FAR in each for each in messages(router, "info"))


def test_every_line_is_an_object(bed: Testbed, router: Tunrouter) -> None:
    ping.answered(bed.router, FAR, count=1)
    wait_until(lambda: any(messages(router, "debug")), "the flow", detail=lambda: router.log)
    found = events(router.log)
    assert {each["level"] for each in found} >= {"debug", "info"}
    assert all({"time", "level", "logger", "message"} <= each.keys() for each in found)


def test_what_is_wrong_is_an_object_too(bed: Testbed, tmp_path: Path) -> None:
    file = write_rules(tmp_path, "version: 1\nrules: [{cidr: 192.0.2.300, policy: drop}]\n")
    stopped = run_to_end(bed.router, "run", "-c", str(file), *LOG, "warning")
    assert stopped.exit_code == 2
    (event,) = events(stopped.log)
    assert (event["level"], "bad-cidr" in event["message"]) == ("error", True)


def test_usually_no_flow_is_logged(bed: Testbed, router: Tunrouter, tmp_path: Path) -> None:
    assert router.stop().exit_code == 0
    with running(bed.router, tmp_path, WRITTEN) as started:
        ping.answered(bed.router, FAR, count=1)
        assert f"{FAR} " not in started.log
