"""The Poller by kqueue, beside the one by epoll: both report the same."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from router.platform.base.descriptors import BROKEN, READABLE, URGENT, WRITABLE, Poller
from router.platform.darwin.poller import DarwinPoller
from router.platform.linux.poller import LinuxPoller
from tests.unit.outbound.test_relay import connection
from tests.unit.platform.fake_kqueue import FakeKqueue


def by_kqueue() -> Poller:
    return DarwinPoller(FakeKqueue())


@pytest.fixture(params=[LinuxPoller, by_kqueue], ids=["epoll", "kqueue"])
def poller(request: pytest.FixtureRequest) -> Iterator[Poller]:
    found: Poller = request.param()
    yield found
    found.close()


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = connection()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    yield ours, theirs
    ours.close()
    theirs.close()


Pair = tuple[socket.socket, socket.socket]


def events(poller: Poller, sock: socket.socket) -> int:
    """What a wait reports of a socket, for which something has happened already."""
    (found,) = [event for descriptor, event in poller.wait(5) if descriptor == sock.fileno()]
    return found


def test_what_can_be_read_is_reported_as_long_as_it_can(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add(ours.fileno())
    assert poller.wait(0) == []
    theirs.send(b"12")
    for _ in range(3):
        assert poller.wait(5) == [(ours.fileno(), READABLE)]
    ours.recv(2)
    assert poller.wait(0) == []
    theirs.send(b"3")
    assert poller.wait(5) == [(ours.fileno(), READABLE)]
    poller.remove(ours.fileno())
    assert poller.wait(0) == []


def test_removing_what_was_not_added_is_refused(poller: Poller, pair: Pair) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        poller.remove(pair[0].fileno())
    with contextlib.suppress(OSError):
        poller.remove(pair[1].fileno())


def test_changes_are_reported_once_and_again_on_demand(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add_changes(ours.fileno())
    assert events(poller, ours) == WRITABLE
    assert poller.wait(0) == []
    theirs.send(b"1")
    assert events(poller, ours) & ~WRITABLE == READABLE
    assert poller.wait(0) == []
    poller.repeat_changes(ours.fileno())
    assert events(poller, ours) == READABLE | WRITABLE


def test_an_urgent_byte(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add_changes(ours.fileno())
    poller.wait(0)
    theirs.send(b"!", socket.MSG_OOB)
    assert events(poller, ours) & URGENT


def test_the_end_of_one_direction_is_only_readable(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add_changes(ours.fileno())
    poller.wait(0)
    theirs.shutdown(socket.SHUT_WR)
    assert events(poller, ours) & (READABLE | BROKEN) == READABLE


def test_the_own_end_is_broken_for_writing_alone(pair: Pair) -> None:
    """Of kqueue: SS_CANTSENDMORE (kern/uipc_socket.c, filt_sowrite_common)."""
    ours, theirs = pair
    poller = by_kqueue()
    poller.add_changes(ours.fileno())
    assert events(poller, ours) == WRITABLE
    ours.shutdown(socket.SHUT_WR)
    poller.repeat_changes(ours.fileno())
    assert events(poller, ours) == WRITABLE | BROKEN
    theirs.send(b"still")
    assert events(poller, ours) & READABLE
    assert ours.recv(10) == b"still"
    poller.close()


def test_a_reset_is_broken(poller: Poller, pair: Pair) -> None:
    ours, theirs = pair
    poller.add_changes(ours.fileno())
    poller.wait(0)
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    theirs.close()
    found = events(poller, ours)
    assert found & READABLE
    assert found & BROKEN


def test_a_refused_connection_is_broken(poller: Poller) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = closed.getsockname()
    with socket.socket() as dialling:
        dialling.setblocking(False)
        dialling.connect_ex(address)
        poller.add_changes(dialling.fileno())
        assert events(poller, dialling) & BROKEN


def test_a_closed_descriptor_is_forgotten(poller: Poller) -> None:
    ours, theirs = connection()
    poller.add_changes(ours.fileno())
    number = ours.fileno()
    ours.close()
    theirs.close()
    assert poller.wait(0) == []
    again, other = connection()
    with again, other:
        assert again.fileno() == number
        poller.add_changes(again.fileno())
        assert events(poller, again) == WRITABLE
