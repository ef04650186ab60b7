"""Messages to a service manager; one that does not read does not block the router."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.platform.supervisor import NotifySocket, supervisor_of

PID = 4711


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


def of(address: str, **others: str) -> NotifySocket:
    return supervisor_of({"NOTIFY_SOCKET": address, **others}, PID)


def received(sock: socket.socket) -> list[str]:
    return sock.recv(1000).decode().split("\n")


def test_each_message(listener: socket.socket) -> None:
    supervisor = of(listener.getsockname())
    supervisor.ready("8 routes by tun0; up: home")
    assert received(listener) == ["READY=1", "STATUS=8 routes by tun0; up: home"]
    supervisor.now("8 routes by tun0; down: home")
    assert received(listener) == ["STATUS=8 routes by tun0; down: home"]
    supervisor.alive()
    assert received(listener) == ["WATCHDOG=1"]
    supervisor.stopping()
    assert received(listener) == ["STOPPING=1", "STATUS="]


def test_reloading_has_a_time_between_before_and_after(listener: socket.socket) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    of(listener.getsockname()).reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    reloading, stamp = received(listener)
    assert reloading == "RELOADING=1"
    name, _, microseconds = stamp.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(microseconds) <= after


def test_a_status_is_one_line(listener: socket.socket) -> None:
    of(listener.getsockname()).now("one\nREADY=1\n\n two \udc80")
    assert received(listener) == ["STATUS=one READY=1 two ?"]


def test_an_abstract_name() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(b"\0tunrouter-test-supervisor")
        sock.setblocking(False)
        of("@tunrouter-test-supervisor").alive()
        assert received(sock) == ["WATCHDOG=1"]


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1", "@", "/" + "x" * 300, "/\0"])
def test_an_invalid_address_is_no_error(address: str) -> None:
    everything(of(address))


def test_no_supervisor() -> None:
    supervisor = supervisor_of({}, PID)
    assert supervisor.watchdog is None
    everything(supervisor)


def test_a_supervisor_that_is_gone(tmp_path: Path) -> None:
    everything(of(str(tmp_path / "gone")))
    (tmp_path / "file").touch()
    everything(of(str(tmp_path / "file")))


def test_a_supervisor_that_does_not_read(listener: socket.socket) -> None:
    """Messages beyond the socket's buffer are lost, and the router does not block."""
    supervisor = of(listener.getsockname())
    for _ in range(2000):
        supervisor.alive()
    queued = 0
    while queued < 2000:
        try:
            listener.recv(100)
        except BlockingIOError:
            break
        queued += 1
    assert 0 < queued < 2000
    supervisor.alive()
    assert received(listener) == ["WATCHDOG=1"]


def everything(supervisor: NotifySocket) -> None:
    supervisor.ready("ready")
    supervisor.reloading()
    supervisor.now("now")
    supervisor.alive()
    supervisor.stopping()


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(PID)}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(PID + 1)}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "?"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({}, None),
    ],
)
def test_the_watchdog(variables: dict[str, str], expected: float | None) -> None:
    assert of("@supervisor", **variables).watchdog == expected
