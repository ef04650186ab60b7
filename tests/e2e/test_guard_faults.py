"""The guard and the undoer both killed, hanging, or without room for the journal: everything is
restored, or the router reports truly what is left to do."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from router.platform.linux.only_on_linux import prlimit
from tests.e2e import ping
from tests.e2e.snapshot import state
from tests.e2e.split import HOME, RULES, VPN, ping_both
from tests.e2e.testbed import FAMILIES, V4, Testbed
from tests.e2e.tunrouter import (
    GUARD,
    PROGRAM,
    UNDOER,
    files_of,
    run_to_end,
    running,
    write_rules,
)
from tests.e2e.wait import wait_until

pytestmark = pytest.mark.usefixtures("strict_rp_filter")

FULL = "size=4k tmpfs /run; head -c 4096 /dev/zero >/run/full"
IDENTITY = "from router.platform.linux import runtime; print(runtime.namespace_identity())"
LEFT = "`sudo tunrouter cleanup` undoes the rest"


@pytest.mark.parametrize("killed", [(GUARD, UNDOER), (UNDOER, GUARD)], ids="+".join)
def test_killed_guard_and_undoer_leave_nothing_unreported(
    bed: Testbed, tmp_path: Path, killed: tuple[str, str]
) -> None:
    before, files = state(bed.router), files_of(bed.router)
    with running(bed.router, tmp_path, RULES) as router:
        ping_both(bed)
        processes = router.processes()
        for name in killed:
            with suppress(ProcessLookupError):  # the second may be done already
                os.kill(processes[name], signal.SIGKILL)
        wait_until(lambda: not router.running, "the router to stop")
        stopped = router.stop()
    assert stopped.exit_code == 1
    assert "start the router again" in stopped.log
    if LEFT not in stopped.log:
        assert (state(bed.router), files_of(bed.router)) == (before, files)
    bed.router.run(PROGRAM, "cleanup")
    assert (state(bed.router), files_of(bed.router)) == (before, files)


def test_sigterm_without_guard_and_undoer_is_no_success(bed: Testbed, tmp_path: Path) -> None:
    before, files = state(bed.router), files_of(bed.router)
    with running(bed.router, tmp_path, RULES) as router:
        ping_both(bed)
        processes = router.processes()
        os.kill(router.pid, signal.SIGSTOP)
        os.kill(router.pid, signal.SIGTERM)
        for name in (GUARD, UNDOER):
            os.kill(processes[name], signal.SIGSTOP)
        for name in (GUARD, UNDOER):
            os.kill(processes[name], signal.SIGKILL)
        stopped = router.stop(signal.SIGCONT)
    assert stopped.exit_code == 1
    assert LEFT in stopped.log
    assert state(bed.router) != before
    bed.router.run(PROGRAM, "cleanup")
    assert (state(bed.router), files_of(bed.router)) == (before, files)


def test_a_guard_that_hangs_ends_the_run(bed: Testbed, tmp_path: Path) -> None:
    before, files = state(bed.router), files_of(bed.router)
    with running(bed.router, tmp_path, RULES) as router:
        ping_both(bed)
        guard = router.processes()[GUARD]
        os.kill(guard, signal.SIGSTOP)
        try:
            assert router.reload().startswith("not reloaded: ")
            assert f"error: the guard (pid {guard}) has not replied" in router.log
            assert f"sudo kill -KILL {guard}" in router.log
        finally:
            os.kill(guard, signal.SIGCONT)
        wait_until(lambda: not router.running, "the router to stop")
        assert router.stop().exit_code == 1
    assert (state(bed.router), files_of(bed.router)) == (before, files)


def test_a_start_names_the_process_of_a_former_run(bed: Testbed, tmp_path: Path) -> None:
    before, files = state(bed.router), files_of(bed.router)
    with running(bed.router, tmp_path, RULES) as former:
        ping_both(bed)
        processes = former.processes()
        hanging = processes[GUARD], processes[UNDOER]
        for pid in hanging:
            os.kill(pid, signal.SIGSTOP)
        try:
            former.stop(signal.SIGKILL)
            refused = run_to_end(bed.router, "run", "-c", str(former.rules_file))
        finally:
            for pid in hanging:
                os.kill(pid, signal.SIGCONT)
        assert refused.exit_code == 1
        assert "error: a former run has not ended: pid " in refused.log
        assert any(f"end it (sudo kill -KILL {pid})" in refused.log for pid in hanging)
        wait_until(lambda: not former.pids(), "the former run to end")
    assert (state(bed.router), files_of(bed.router)) == (before, files)


@pytest.mark.parametrize(
    "filled",
    ["nr_inodes=2 tmpfs /run", "nr_inodes=3 tmpfs /run", FULL],
    ids=["no inode for a directory", "no inode for the journal", "no bytes"],
)
def test_without_room_in_run_a_start_is_refused(bed: Testbed, tmp_path: Path, filled: str) -> None:
    before = state(bed.router)
    path = write_rules(tmp_path, RULES)
    script = f'mount -t tmpfs -o {filled}; "$@"; status=$?; ls /run/tunrouter >&2; exit $status'
    prefix = ("unshare", "-m", "sh", "-c", script, "sh")
    refused = run_to_end(bed.router, "run", "-c", str(path), prefix=prefix)
    assert refused.exit_code == 1
    assert refused.log.count("error: ") == 1, refused.log
    assert "warning: " not in refused.log
    assert "No space left on device" in refused.log
    assert "/run/tunrouter/net-" in refused.log
    assert "`df /run` and `df -i /run` say whether it is full" in refused.log
    assert "/run/tunrouter': No such file or directory" in refused.log, "nothing is left there"
    assert state(bed.router) == before


def test_without_room_in_the_journal_an_outbound_stays_down(bed: Testbed, tmp_path: Path) -> None:
    files = files_of(bed.router)
    with running(bed.router, tmp_path, RULES) as router:
        ping_both(bed)
        (journal,) = (path for path in files_of(bed.router) - files if path.suffix == ".undo")
        bed.close_tunnel()
        wait_until(lambda: "policy office: down" in router.log, "the VPN to be down")
        with _no_longer(router.processes()[UNDOER], journal):
            bed.open_tunnel()
            reason = "interface wg0 cannot be used: wg0 cannot be prepared: "
            wait_until(lambda: reason in router.log, "it to be refused")
            assert f": {journal}" in router.log
            for family in FAMILIES:
                assert ping.answered(bed.client, family.far(HOME)).received == 3
            assert ping.answered(bed.client, V4.far(VPN), count=1).received == 0
            bed.close_tunnel()
        bed.open_tunnel()
        wait_until(lambda: router.log.count("policy office: up") == 2, "the VPN to be back")
        ping_both(bed)
        assert " proto 116" in state(bed.router)
        assert router.stop().exit_code == 0
    assert " proto 116" not in state(bed.router), "the interface is another one than before"
    assert files_of(bed.router) == files


@contextmanager
def _no_longer(pid: int, file: Path) -> Iterator[None]:
    """A process cannot extend a file, as on a full file system."""
    former = prlimit(pid, resource.RLIMIT_FSIZE)
    prlimit(pid, resource.RLIMIT_FSIZE, (file.stat().st_size, former[1]))
    try:
        yield
    finally:
        prlimit(pid, resource.RLIMIT_FSIZE, former)


def test_namespaces_have_identities(bed: Testbed) -> None:
    """The identity differs from that of a later namespace with the same number."""
    client, router, again = (
        namespace.run(sys.executable, "-c", IDENTITY).stdout
        for namespace in (bed.client, bed.router, bed.router)
    )
    assert router == again != client
