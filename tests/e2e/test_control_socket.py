"""The control socket: access, cleaning up, and no delay of packets by its clients."""

from __future__ import annotations

import errno
import os
import signal
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from router.cli.status import status
from router.platform import control_sockets
from tests.e2e import ping
from tests.e2e.misbehaving import MisbehavingClients
from tests.e2e.netns import Namespace
from tests.e2e.sockets import enter
from tests.e2e.status import HOME, RULES, VPN, Counted, read_status, socket_of
from tests.e2e.testbed import V4, Testbed
from tests.e2e.tunrouter import HEAD, PROGRAM, TUN, Tunrouter, rules, run_to_end, running
from tests.e2e.wait import wait_until

NOBODY = 65534


@pytest.fixture
def router(bed: Testbed, tmp_path: Path) -> Iterator[Tunrouter]:
    with running(bed.router, tmp_path, RULES) as started:
        yield started


def test_a_policy_is_down_as_long_as_its_interface_is_gone(bed: Testbed, tmp_path: Path) -> None:
    def office() -> tuple[str, str, str]:
        policy = read_status(bed.router)["policies"]["office"]
        return policy["state"], policy["interface"], policy["applies"]

    with running(bed.router, tmp_path, RULES):
        assert office() == ("up", "wg0", "office")
        bed.close_tunnel()
        try:
            wait_until(lambda: office() == ("down", "wg0", "reject"), "it to be down")
            counted = Counted(bed, V4, VPN)
            assert ping.refused(bed.client, V4.far(VPN)).prohibited == 3
            assert counted.since()["rule packets"] == 3
            assert counted.since()["packets_out"] == 0, "it went by `reject`"
        finally:
            bed.open_tunnel()
        wait_until(lambda: office() == ("up", "wg0", "office"), "it to be up again")


def test_only_root_may_use_the_socket(bed: Testbed, router: Tunrouter) -> None:
    assert router.running
    found = socket_of(bed.router).stat()
    assert stat.S_ISSOCK(found.st_mode)
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o600, 0)
    directory = socket_of(bed.router).parent.stat()
    assert (stat.S_IMODE(directory.st_mode), directory.st_uid) == (0o755, 0)


@pytest.mark.usefixtures("router")
def test_another_user_is_refused(bed: Testbed) -> None:
    path = str(socket_of(bed.router))

    def connect() -> None:
        with socket.socket(socket.AF_UNIX) as sock:
            os._exit(sock.connect_ex(path))

    assert as_nobody(bed.router, connect)[0] == errno.EACCES
    code, printed = as_nobody(bed.router, lambda: os._exit(status(None, (), as_json=False)))
    assert (code, printed) == (
        1,
        "tunrouter status: only root may use the control socket: put sudo before the command "
        f"({path})\n",
    )


def as_nobody(namespace: Namespace, do: Callable[[], None]) -> tuple[int, str]:
    """Exit code and output of a child of this process, in a namespace and without privileges: it
    needs no program that an unprivileged user could read."""
    control_sockets()  # imports what a child without privileges may not be able to read
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            enter(namespace)
            os.dup2(writer, 1)
            os.dup2(writer, 2)
            sys.stdout = sys.stderr = os.fdopen(2, "w", closefd=False, buffering=1)
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            do()
        finally:
            os._exit(99)
    os.close(writer)
    with os.fdopen(reader) as output:
        printed = output.read()
    _, wait_status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(wait_status), printed


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_the_socket(bed: Testbed, tmp_path: Path, by: signal.Signals) -> None:
    path = socket_of(bed.router)
    with running(bed.router, tmp_path, RULES) as router:
        assert path.exists()
        router.stop(by)
        if by is signal.SIGTERM:
            assert not path.parent.exists()
        wait_until(lambda: not path.parent.exists(), "the socket's directory to go")
    ended = run_to_end(bed.router, "status")
    assert ended.exit_code == 1
    assert ended.log == (
        "tunrouter status: no router is running here: start one with sudo tunrouter run\n"
    )


def test_two_routers_of_one_namespace(bed: Testbed, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    head = HEAD.replace(TUN, "tun12").replace("192.168.7.", "192.168.8.").replace("fd77", "fd78")
    second_rules = rules(f"{V4.far(9)} -> reply", head=head)
    with (
        running(bed.router, tmp_path, RULES),
        running(bed.router, other, second_rules),
    ):
        ended = run_to_end(bed.router, "status", "--json")
        assert ended.exit_code == 1
        assert "several routers are running, tun11, tun12: say which by --tun" in ended.log
        assert len(read_status(bed.router, "--tun", TUN)["rules"]) > 1
        assert len(read_status(bed.router, "--tun", "tun12")["rules"]) == 1
        ended = run_to_end(bed.router, "status", "--tun", "tun13")
        assert (ended.exit_code, "running: tun11, tun12" in ended.log) == (1, True)
        elsewhere = run_to_end(bed.far, "status")
        assert elsewhere.exit_code == 1, "another namespace"
        assert "no router is running here" in elsewhere.log


def test_a_socket_that_was_left_behind_is_replaced(bed: Testbed, tmp_path: Path) -> None:
    path = socket_of(bed.router)
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with running(bed.router, tmp_path, RULES):
        assert read_status(bed.router)["tun"] == TUN
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


@pytest.mark.usefixtures("router")
def test_misbehaving_clients_cost_no_packet(bed: Testbed) -> None:
    with MisbehavingClients(socket_of(bed.router), 20) as clients:
        pings = ping.start(bed.client, V4.far(HOME), "-i", "0.002")
        try:
            wait_until(lambda: clients.done > 200, "clients that misbehave")
            ping.wait_for_the_rest(pings)
        finally:
            pings.close()
    wait_until(lambda: run_to_end(bed.router, "status").exit_code == 0, "it to have room again")


def test_many_rules_hold_up_no_ping(bed: Testbed, tmp_path: Path) -> None:
    number = 20_000
    many = (f"10.{each >> 8}.{each & 255}.0/24 -> bypass" for each in range(number))
    text = rules(*many, f"{V4.far(HOME)} -> home")
    with running(bed.router, tmp_path, text):
        pings = ping.start(bed.client, V4.far(HOME), "-q", "-i", "0.002", "-c", "1000", "-w", "60")
        try:
            answers = 0
            while pings.running:
                answer = read_status(bed.router)
                assert [rule["index"] for rule in answer["rules"]] == list(range(1, number + 2))
                answers += 1
            found = ping.read(pings)
        finally:
            pings.close()
        assert found.received == 1000, found.text
        assert answers > 0
        assert read_status(bed.router)["rules"][-1]["packets"] >= 2000
        assert "1 of 20,001 rules, the busiest" in bed.router.run(PROGRAM, "status").stdout
