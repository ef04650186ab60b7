"""However the router ends, the network is as it was, as text."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.snapshot import state, wait_for_state
from tests.e2e.split import RULES, ping_both
from tests.e2e.testbed import Testbed
from tests.e2e.tunrouter import TUN, Tunrouter, rules, running, write_rules
from tests.e2e.wait import wait_until

pytestmark = pytest.mark.usefixtures("strict_rp_filter")

MANY_RULES = rules(*(f"198.51.{n >> 8}.{n & 255} -> home" for n in range(3000)))
"""So many that reading them takes a moment."""


def _wait_until_gone(router: Tunrouter) -> None:
    wait_until(lambda: not router.pids(), "all of its processes to end")


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_end_by_signal(bed: Testbed, tmp_path: Path, by: signal.Signals) -> None:
    before = state(bed.router)
    with running(bed.router, tmp_path, RULES) as router:
        ping_both(bed)
        assert state(bed.router) != before
        stopped = router.stop(by)
        assert stopped.exit_code == 0, stopped.log
        assert stopped.counters["loop"] == 0
        _wait_until_gone(router)
    assert state(bed.router) == before, "all must be restored by the time the program has ended"


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_interrupts_nothing(
    bed: Testbed, tmp_path: Path, by: signal.Signals
) -> None:
    """Sent while the router waits for its helper processes to restore everything."""
    before = state(bed.router)
    with running(bed.router, tmp_path, RULES) as router:
        ping_both(bed)
        helpers = [pid for pid in router.pids() if pid != router.pid]
        for pid in helpers:
            os.kill(pid, signal.SIGSTOP)
        try:
            os.kill(router.pid, by)
            wait_until(lambda: not bed.router.has_interface(TUN), "the TUN to be closed")
            for _ in range(3):
                os.kill(router.pid, by)
        finally:
            for pid in helpers:
                os.kill(pid, signal.SIGCONT)
        assert router.stop(by).exit_code == 0
        assert state(bed.router) == before


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_end_before_it_is_ready(bed: Testbed, tmp_path: Path, by: signal.Signals) -> None:
    before = state(bed.router)
    os.mkfifo(tmp_path / "rules")  # open for writing too, it blocks its reader for ever
    waiting = ("sh", "-c", f'exec "$0" "$@" <>{tmp_path}/rules')
    router = Tunrouter(bed.router, Path("/dev/stdin"), prefix=waiting)
    try:
        wait_until(lambda: len(router.pids()) > 1, "the first helper, before the rules are read")
        stopped = router.stop(by)
        assert stopped.exit_code == 0, stopped.log
        assert "ready" not in stopped.log
        _wait_until_gone(router)
        assert state(bed.router) == before
    finally:
        router.close()


def test_a_reload_request_before_it_is_ready(bed: Testbed, tmp_path: Path) -> None:
    router = Tunrouter(bed.router, write_rules(tmp_path, MANY_RULES))
    try:
        wait_until(lambda: len(router.pids()) > 1, "the first helper, before the rules are read")
        os.kill(router.pid, signal.SIGHUP)
        router.wait_until_ready()
        wait_until(router.reloads, "the reload", detail=lambda: router.log)
        assert router.stop().exit_code == 0
    finally:
        router.close()


def test_sigkill_of_the_main_program(bed: Testbed, tmp_path: Path) -> None:
    before = state(bed.router)
    with running(bed.router, tmp_path, RULES) as router:
        ping_both(bed)
        assert router.stop(signal.SIGKILL).exit_code == -signal.SIGKILL
        wait_for_state(bed.router, before)
        _wait_until_gone(router)


def test_sigkill_of_any_of_its_processes(bed: Testbed, tmp_path: Path) -> None:
    before = state(bed.router)
    position, processes = 0, 1
    while position < processes:
        with running(bed.router, tmp_path, RULES) as router:
            ping_both(bed)
            processes = len(router.pids())
            os.kill(router.pids()[position], signal.SIGKILL)
            wait_for_state(bed.router, before)
            _wait_until_gone(router)
            assert router.stop().exit_code in (1, -signal.SIGKILL)
        position += 1


def test_it_starts_again_after_sigkill(bed: Testbed, tmp_path: Path) -> None:
    before = state(bed.router)
    with running(bed.router, tmp_path, RULES) as killed:
        killed.stop(signal.SIGKILL)
    wait_until(lambda: not bed.router.has_interface(TUN), f"{TUN} to go")
    with running(bed.router, tmp_path, RULES):
        ping_both(bed)
    wait_for_state(bed.router, before)
