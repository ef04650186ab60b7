"""The router without the rights of root, and what is left when any of its processes is killed."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path

import pytest

import router
from tests.e2e import ping, sockets
from tests.e2e.snapshot import state, wait_for_state
from tests.e2e.split import HOME, LINES, RULES, VPN, ping_both
from tests.e2e.testbed import FAMILIES, V4, V6, Family, Testbed
from tests.e2e.tunrouter import (
    GUARD,
    HEAD,
    KILLED,
    PROGRAM,
    ROUTER,
    TUN,
    UNDOER,
    files_of,
    rules,
    run_to_end,
    running,
    wait_until_down,
    wait_until_up,
    write_rules,
)
from tests.e2e.udp import ECHO, far_hosts
from tests.e2e.wait import wait_until

pytestmark = pytest.mark.usefixtures("strict_rp_filter")

FILTERED = "2"
"""SECCOMP_MODE_FILTER (linux/seccomp.h)."""

NEW_FLOWS = 12
"""Of each family: not more than the router has sockets in reserve for."""

ADDED = "10.8.0.77/32 dev wg0"


def owned_by(user: str) -> str:
    return rules(*LINES, head=HEAD + f"user: {user}\n")


def _of(pid: int, key: str) -> str:
    """A line of /proc/PID/status, without its key."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.partition(":")[2].strip() for line in lines if line.startswith(key + ":"))


def _can_read(account: pwd.struct_passwd, file: Path) -> bool:
    """Whether another process of an account can."""
    done = subprocess.run(
        ["head", "-c", "1", str(file)],
        user=account.pw_uid,
        group=account.pw_gid,
        extra_groups=(),
        check=False,
        capture_output=True,
    )
    return done.returncode == 0


@pytest.fixture
def program(tmp_path: Path) -> Callable[[], Path]:
    """Copies the program to where only root may read."""

    def copied() -> Path:
        private = tmp_path / "private"
        packages = private / "packages"
        shutil.copytree(Path(router.__path__[0]), packages / "router")
        for each in ("pyroute2", "yaml", "rich"):
            shutil.copytree(Path(import_module(each).__path__[0]), packages / each)
        private.chmod(stat.S_IRWXU)
        return packages

    return copied


@pytest.mark.parametrize("user", ["nobody", "daemon"])
def test_the_router_has_no_rights_but_its_descriptors(
    bed: Testbed, tmp_path: Path, user: str
) -> None:
    text = RULES if user == "nobody" else owned_by(user)
    account = pwd.getpwnam(user)
    with running(bed.router, tmp_path, text) as router:
        processes = router.processes()
        assert processes[ROUTER] == router.pid
        assert set(_of(router.pid, "Uid").split()) == {str(account.pw_uid)}
        assert set(_of(router.pid, "Gid").split()) == {str(account.pw_gid)}
        assert _of(router.pid, "Groups") == ""
        for kind in ("Prm", "Eff", "Inh", "Amb"):
            assert int(_of(router.pid, f"Cap{kind}"), 16) == 0, kind
        assert int(_of(router.pid, "CapBnd"), 16) == 0
        assert _of(router.pid, "NoNewPrivs") == "1"
        assert _of(router.pid, "Seccomp") == FILTERED
        for name in ("environ", "maps"):
            file = Path(f"/proc/{router.pid}/{name}")
            assert _can_read(pwd.getpwuid(0), file)
            assert not _can_read(account, file), name
        for name in (GUARD, UNDOER):
            assert set(_of(processes[name], "Uid").split()) == {"0"}
        assert len({os.getsid(pid) for pid in processes.values()}) == 3
        ping_both(bed)
        bed.close_tunnel()
        router.wait_until_down("office")
        bed.open_tunnel()
        router.wait_until_up("office", V4.wg0, V6.wg0)
        ping_both(bed)


def test_root_stays_root_only_when_configured_and_with_a_warning(
    bed: Testbed, tmp_path: Path
) -> None:
    with running(bed.router, tmp_path, owned_by("root")) as router:
        assert set(_of(router.pid, "Uid").split()) == {"0"}
        assert "keeps the rights of root" in router.log
        ping_both(bed)
    with running(bed.router, tmp_path, RULES) as router:
        assert "keeps the rights of root" not in router.log


def test_a_user_that_does_not_exist(bed: Testbed, tmp_path: Path) -> None:
    before = state(bed.router)
    path = write_rules(tmp_path, owned_by("no-such-user"))
    ended = run_to_end(bed.router, "run", "-c", str(path))
    assert ended.exit_code == 1
    assert "there is no user no-such-user: create one (useradd --system no-such-user)" in ended.log
    assert state(bed.router) == before


def test_nothing_is_read_from_disk_any_more(
    bed: Testbed, tmp_path: Path, program: Callable[[], Path]
) -> None:
    """A checkout and rules that only root may read: all the router does works all the same."""
    packages = program()
    path = write_rules(packages.parent, RULES)
    started = bed.router.start(
        *(sys.executable, "-P", "-S", "-m", "router.cli", "run", "-c", str(path)),
        env={"PYTHONPATH": str(packages)},
    )
    try:
        started.wait_for_output("ready")
        assert set(_of(started.pid, "Uid").split()) == {str(pwd.getpwnam("nobody").pw_uid)}
        ping_both(bed)
        for host in (HOME, VPN):
            refused = bed.client.run("curl", "-s", f"http://{V4.far(host)}:9", check=False)
            assert refused.returncode == 7, "curl: connection refused"
            lookup = bed.client.run("dig", "+tries=1", f"@{V4.far(host)}", check=False)
            assert lookup.returncode == 9, "dig: no reply from server"
            assert "connection refused" in lookup.stdout
        bed.close_tunnel()
        wait_until_down(lambda: started.stderr, "office")
        bed.open_tunnel()
        wait_until_up(lambda: started.stderr, "office", V4.wg0, V6.wg0)
        ping_both(bed)
        assert started.stop(signal.SIGTERM) == 0
        assert "Traceback" not in started.stderr
    finally:
        started.close()


@pytest.mark.parametrize("killed", KILLED, ids="+".join)
def test_sigkill_of_process_groups_leaves_nothing(
    bed: Testbed, tmp_path: Path, killed: tuple[str, ...]
) -> None:
    before, files = state(bed.router), files_of(bed.router)
    with running(bed.router, tmp_path, RULES) as router:
        ping_both(bed)
        assert state(bed.router) != before
        assert {path.suffix for path in files_of(bed.router) - files} == {".sock", ".undo"}
        router.kill(killed)
        wait_for_state(bed.router, before)
        wait_until(lambda: not router.pids(), "all of its processes to end")
        assert files_of(bed.router) == files
        stopped = router.stop()
        if ROUTER not in killed:
            assert stopped.exit_code == 1
            assert "start the router again" in stopped.log


def _killed_all_at_once(bed: Testbed, tmp_path: Path) -> None:
    """A run without a process left to undo what it has done, as after a power cut."""
    with running(bed.router, tmp_path, RULES) as router:
        ping_both(bed)
        pids = router.pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        assert router.stop().exit_code == -signal.SIGKILL
        wait_until(lambda: not router.pids(), "all of its processes to end")


def test_cleanup_undoes_what_a_power_cut_leaves(bed: Testbed, tmp_path: Path) -> None:
    before, files = state(bed.router), files_of(bed.router)
    _killed_all_at_once(bed, tmp_path)
    assert state(bed.router) != before
    cleaned = bed.router.run(PROGRAM, "cleanup")
    assert "undone: net/ipv4/conf/eth0/rp_filter = 1" in cleaned.stdout
    assert "undone: rule " in cleaned.stdout
    assert state(bed.router) == before
    assert files_of(bed.router) == files
    again = bed.router.run(PROGRAM, "cleanup")
    assert again.stdout == "nothing to clean up: no run has left anything behind\n"


def test_cleanup_changes_nothing_of_a_running_router(bed: Testbed, tmp_path: Path) -> None:
    with running(bed.router, tmp_path, RULES):
        ping_both(bed)
        during, files = state(bed.router), files_of(bed.router)
        cleaned = bed.router.run(PROGRAM, "cleanup")
        assert "nothing to clean up" in cleaned.stdout
        assert (state(bed.router), files_of(bed.router)) == (during, files)
        ping_both(bed)


def test_the_next_start_cleans_up_too(bed: Testbed, tmp_path: Path) -> None:
    before, files = state(bed.router), files_of(bed.router)
    _killed_all_at_once(bed, tmp_path)
    with running(bed.router, tmp_path, RULES) as router:
        assert "undone what a killed run had left" in router.log
        ping_both(bed)
    wait_for_state(bed.router, before)
    assert files_of(bed.router) == files


def test_corrupt_lines_of_a_journal_are_named_and_the_rest_is_undone(
    bed: Testbed, tmp_path: Path
) -> None:
    before, files = state(bed.router), files_of(bed.router)
    _killed_all_at_once(bed, tmp_path)
    (journal,) = (path for path in files_of(bed.router) - files if path.suffix == ".undo")
    with journal.open("r+b") as file:
        written = file.read()
        file.seek(0)
        file.write(b'\xff\0{\n{"undo": "quota"}\n' + written + b'{"undo": "sysc')
    with running(bed.router, tmp_path, RULES) as router:
        for number in (1, 2):
            assert f"what a killed run left could not be undone: {journal}:{number}: " in router.log
        assert "undone what a killed run had left" in router.log
        ping_both(bed)
    wait_for_state(bed.router, before)
    cleaned = bed.router.run(PROGRAM, "cleanup", check=False)
    assert cleaned.returncode == 1
    assert cleaned.stderr == ""
    assert f"could not be undone: {journal}:2: " in cleaned.stdout
    assert "and delete the file" in cleaned.stdout
    assert state(bed.router) == before
    journal.unlink()
    again = bed.router.run(PROGRAM, "cleanup")
    assert again.stdout == "nothing to clean up: no run has left anything behind\n"
    assert files_of(bed.router) == files


def test_a_second_start_names_the_running_process(bed: Testbed, tmp_path: Path) -> None:
    with running(bed.router, tmp_path, RULES) as first:
        during = state(bed.router)
        second = run_to_end(bed.router, "run", "-c", str(tmp_path / "rules.yaml"))
        assert second.exit_code == 1
        assert f"{TUN} is in use by pid {first.pid}, " in second.log
        assert "tunrouter run" in second.log
        assert f"stop it (kill {first.pid}), or choose another tun name" in second.log
        assert state(bed.router) == during
        ping_both(bed)


def test_a_second_start_with_the_same_addresses_names_their_process(
    bed: Testbed, tmp_path: Path
) -> None:
    """Names are the system's choice where the rules have none: two routers get different ones."""
    nameless = rules(*LINES, head=HEAD.replace(f"  name: {TUN}\n", ""))
    with running(bed.router, tmp_path, nameless) as first:
        during = state(bed.router)
        second = run_to_end(bed.router, "run", "-c", str(tmp_path / "rules.yaml"))
        assert second.exit_code == 1
        assert f"{V4.tun} is already an address of tun0, in use by pid {first.pid}, " in second.log
        assert f"stop it (kill {first.pid}), or choose another 'address' in 'tun'" in second.log
        assert state(bed.router) == during
        ping_both(bed)


def test_sigterm_of_all_processes_ends_the_router_first(bed: Testbed, tmp_path: Path) -> None:
    """As a service supervisor stops it: every process gets the signal at the same time."""
    before = state(bed.router)
    with running(bed.router, tmp_path, RULES) as router:
        ping_both(bed)
        for pid in router.pids():
            os.kill(pid, signal.SIGTERM)
        assert router.stop().exit_code == 0
        wait_until(lambda: not router.pids(), "all of its processes to end")
    assert state(bed.router) == before


@pytest.mark.parametrize("number", range(9, 15))
def test_a_start_without_descriptors_names_the_cause(
    bed: Testbed, tmp_path: Path, number: int
) -> None:
    before, files = state(bed.router), files_of(bed.router)
    path = write_rules(tmp_path, RULES)
    prefix = ("prlimit", f"--nofile={number}:{number}")
    ended = run_to_end(bed.router, "run", "-c", str(path), prefix=prefix)
    assert ended.exit_code == 1
    assert "Too many open files" in ended.log
    assert "df" not in ended.log, "that is the remedy for a full file system"
    wait_for_state(bed.router, before)
    assert files_of(bed.router) == files


def test_packets_do_not_wait_for_a_busy_guard(bed: Testbed, tmp_path: Path) -> None:
    """Thousands of routes, or a VPN whose endpoint takes long to read, may keep it busy for a time;
    it catches up. Meanwhile an interface of a policy gets an address, so it is to be prepared."""
    route = f"{V4.far(HOME)} dev {TUN}"
    with far_hosts(bed), running(bed.router, tmp_path, RULES) as run, ExitStack() as sent:
        guard = run.processes()[GUARD]
        for family in FAMILIES:
            sent.enter_context(_echoed(bed, family))
        os.kill(guard, signal.SIGSTOP)
        try:
            bed.router.ip(f"route del {route}", f"route del {route}", f"addr add {ADDED}")
            wait_until(lambda: _unread(bed, guard), "a request of the router to the guard")
            for family in FAMILIES * NEW_FLOWS:
                sent.enter_context(_echoed(bed, family))
                assert ping.answered(bed.client, family.far(VPN), count=1).received == 1
        finally:
            os.kill(guard, signal.SIGCONT)
            bed.router.ip(f"addr del {ADDED}")
        wait_until(lambda: "restored: " + V4.far(HOME) in run.log, "it to catch up")
        assert route in bed.router.run("ip", "route").stdout


def _echoed(bed: Testbed, family: Family) -> socket.socket:
    """A socket that has sent a datagram to a far host and received its echo."""
    sock = sockets.datagram(bed.client, family)
    sock.sendto(b"question", (family.far(HOME), ECHO))
    assert sock.recv(100) == b"question"
    return sock


def _unread(bed: Testbed, pid: int) -> bool:
    """Whether a Unix socket of a process has unread data."""
    shown = bed.router.run("ss", "-Hxp").stdout.splitlines()
    return any(f"pid={pid}," in line and line.split()[2] != "0" for line in shown)
