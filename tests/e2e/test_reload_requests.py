"""Requests to reload, on a router of their own: the command, requests that come together, and the
process that reads the rules."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.snapshot import state, wait_for_state
from tests.e2e.tcp_bed import conversation
from tests.e2e.test_reload import HOME, UNRELATED, written
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import PROGRAM, Tunrouter, rules, running
from tests.e2e.wait import wait_until


@pytest.fixture
def router(bed: Testbed, tmp_path: Path) -> Iterator[Tunrouter]:
    """With the rules of `written()`; when it has stopped, everything is as it was before."""
    before = state(bed.router)
    with running(bed.router, tmp_path, written()) as started:
        yield started
    wait_for_state(bed.router, before)


def test_the_command_reports_the_outcome(bed: Testbed, router: Tunrouter) -> None:
    """On its output, by its exit status, and in the log."""
    with conversation(bed, V4, HOME):
        router.rules_file.write_text(written(UNRELATED))
        done = bed.router.run(PROGRAM, "reload")
        assert done.stdout.startswith("reloaded: 5 rules; flows kept: 1 (1 tcp); flows ended: 0;")
        assert done.stderr == ""
        answer = json.loads(bed.router.run(PROGRAM, "reload", "--json").stdout)
        assert answer["flows"]["kept"] == {"icmp": 0, "udp": 0, "tcp": 1}
        assert answer["routes"] == {"added": 0, "removed": 0}
    router.rules_file.write_text(written("HOST -> nowhere", "198.51.100.300 -> home"))
    checked = bed.router.run(PROGRAM, "check", "-c", str(router.rules_file), check=False)
    refused = bed.router.run(PROGRAM, "reload", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    *problems, last = refused.stderr.splitlines()
    assert problems == checked.stdout.splitlines()[:-1], "all of them, as check shows them"
    assert last == "not reloaded: the former rules go on"
    errors = [line for line in problems if "error[" in line]
    assert checked.stdout.splitlines()[-1] == f"{len(errors)} errors"
    assert all(line in router.log for line in errors)


def test_reload_without_a_running_router(bed: Testbed) -> None:
    refused = bed.router.run(PROGRAM, "reload", check=False)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no router is running here" in refused.stderr


def test_a_request_during_a_reload_is_remembered(router: Tunrouter) -> None:
    """Until a reload that begins after the request."""
    for _ in range(3):
        os.kill(router.pid, signal.SIGHUP)
    router.rules_file.write_text(written(UNRELATED))
    os.kill(router.pid, signal.SIGHUP)
    wait_until(lambda: any("reloaded: 5 rules" in line for line in router.reloads()), "the last")


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_the_process_that_reads_rules_ends_with_the_router(
    router: Tunrouter, by: signal.Signals
) -> None:
    """However the router ends: that process does not outlive it, and logs nothing more."""
    many = (f"10.{number >> 8}.{number & 255}.0/24 -> home" for number in range(50_000))
    router.rules_file.write_text(rules(*many))
    before = set(router.pids())
    os.kill(router.pid, signal.SIGHUP)
    wait_until(lambda: set(router.pids()) - before, "the program that reads")
    for pid in set(router.pids()) - before:
        os.kill(pid, signal.SIGSTOP)  # as one that waits for a disk
    stopped = router.stop(by)
    wait_until(lambda: not router.pids(), "all processes to end")
    assert "Traceback" not in router.log
    assert not router.reloads(), stopped.log
