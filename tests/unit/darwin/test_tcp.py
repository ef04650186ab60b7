"""TCP sockets of xnu: their options, and what TCP_CONNECTION_INFO says.

On loopback they are sockets of Linux that take xnu's options, see xnu_sockets.
"""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from router.platform.base.connections import Resent
from router.platform.base.tcp import ANY_PORT, TcpInfo
from router.platform.darwin.tcp import DarwinTcpSockets
from router.platform.darwin.tcp_state import (
    CONNECTION_INFO,
    ConnectionInfo,
    parse_connection_info,
    tcp_info,
)
from router.platform.tcp_socket import reset_on_close
from router.policy.network import Interface
from tests.unit.darwin import layouts
from tests.unit.darwin.test_datagrams import ADDRESS, BOUND, FAMILY, LOOPBACK, PACKED, Recorded
from tests.unit.darwin.xnu_sockets import OPEN

TCP = DarwinTcpSockets(OPEN)


@pytest.fixture(params=[4, 6])
def version(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def listener(version: int) -> Iterator[socket.socket]:
    with TCP.listening(PACKED[version]) as sock:
        yield sock


class Pair:
    """A connection: the end that has dialled, and the one that was accepted."""

    def __init__(self, listener: socket.socket, version: int) -> None:
        self.outer = TCP.dialling(version, LOOPBACK, ANY_PORT, 44, 0x48)
        self.outer.connect_ex(listener.getsockname()[:2])
        assert select.select([listener], [], [], BOUND)[0]
        self.inner, _ = listener.accept()

    def close(self) -> None:
        self.outer.close()
        self.inner.close()


@pytest.fixture
def pair(listener: socket.socket, version: int) -> Iterator[Pair]:
    made = Pair(listener, version)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("version", "fields"),
    [
        (4, {(0, 25): 4, (0, 4): 44, (0, 3): 0x48}),
        (6, {(41, 125): 4, (41, 4): 44, (41, 36): 0x48, (41, 27): 1}),
    ],
)
def test_the_options_of_a_socket_that_connects(
    version: int, fields: dict[tuple[int, int], int]
) -> None:
    made: list[Any] = []

    class WithHopLimit(Recorded):
        def getsockopt(self, level: int, option: int) -> int:
            assert (level, option) == (0, 4)
            return 64

    def open_socket(*kind: int) -> Any:
        made.append(WithHopLimit(*kind))
        return made[-1]

    sockets = DarwinTcpSockets(open_socket)
    interface = Interface("en0", 4, up=True, mtu=1500, addresses=())
    sock: Any = sockets.dialling(version, interface, 50000, 44, 0x48)
    inline = {(6, 1): 1, (socket.SOL_SOCKET, socket.SO_OOBINLINE): 1}
    reused = {(socket.SOL_SOCKET, socket.SO_REUSEADDR): 1}
    assert sock.set == fields | inline | reused
    assert sock.made == (FAMILY[version], socket.SOCK_STREAM, 6)
    assert (sock.bound, sock.blocks) == (("", 50000), False)
    sock.family = FAMILY[version]
    sockets.connected(sock)
    assert sock.set[(0, 4) if version == 4 else (41, 4)] == (64 if version == 4 else -1)


def test_a_port_of_services_is_not_taken(version: int) -> None:
    with TCP.dialling(version, LOOPBACK, 5000, 64, 0) as sock:
        assert sock.getsockname()[1] != 5000


def test_a_connection(pair: Pair, version: int) -> None:
    pair.outer.send(b"abc")
    assert select.select([pair.inner], [], [], BOUND)[0]
    assert pair.inner.recv(10) == b"abc"
    assert not TCP.has_ended(pair.outer)
    assert TCP.failure(pair.outer).error == 0
    assert not TCP.has_lost_interface(pair.outer)
    info = TCP.tcp_info(pair.inner)
    assert (info.received, info.silence) == (3, None)
    assert info.segments > 0
    TCP.connected(pair.outer)
    TCP.set_traffic_class(pair.outer, 0x20)
    assert pair.outer.getsockname()[0] == ADDRESS[version]
    pair.outer.shutdown(socket.SHUT_WR)
    assert select.select([pair.inner], [], [], BOUND)[0]
    assert TCP.tcp_info(pair.inner).received == 4


def test_the_end_by_a_reset(pair: Pair) -> None:
    reset_on_close(pair.inner)
    pair.inner.close()
    assert select.select([pair.outer], [], [], BOUND)[0]
    assert TCP.has_ended(pair.outer)
    TCP.probe(pair.outer)
    TCP.start_keepalive(pair.outer)
    TCP.stop_keepalive(pair.outer)
    with pytest.raises(OSError, match="Invalid argument"):
        TCP.set_traffic_class(pair.outer, 0x20)
    assert TCP.tcp_info(pair.outer).segments > 0


def test_a_connection_whose_state_is_gone_has_ended() -> None:
    """xnu refuses the option then (netinet/tcp_usrreq.c, tcp_ctloutput)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        assert TCP.has_ended(sock)


def test_a_refused_connection(version: int, listener: socket.socket) -> None:
    address = listener.getsockname()[:2]
    listener.close()
    with TCP.dialling(version, LOOPBACK, ANY_PORT, 64, 0) as sock:
        sock.connect_ex(address)
        assert select.select([sock], [sock], [], BOUND)[1]
        assert TCP.failure(sock).error == errno.ECONNREFUSED


def test_probes(pair: Pair) -> None:
    TCP.probe(pair.outer)
    for option, value in ((0x10, 1), (0x101, 32767), (0x102, 127)):
        assert pair.outer.getsockopt(6, option) == value
    assert pair.outer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    TCP.stop_keepalive(pair.outer)
    assert not pair.outer.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


@pytest.mark.parametrize("answer", [0, 1])
def test_the_mark_of_an_urgent_byte(pair: Pair, answer: int) -> None:
    """SIOCATMARK, _IOR('s', 7, int) (sys/sockio.h:79, sys/ioccom.h)."""
    requests: list[tuple[int, int]] = []

    def ioctl(descriptor: int, request: int, argument: bytes) -> bytes:
        requests.append((descriptor, request))
        assert argument == bytes(4)
        return answer.to_bytes(4, "little")

    assert DarwinTcpSockets(OPEN, ioctl).is_at_mark(pair.outer) == bool(answer)
    assert requests == [(pair.outer.fileno(), 0x40000000 | 4 << 16 | ord("s") << 8 | 7)]


def test_golden_bytes_of_the_state() -> None:
    info = layouts.TcpConnectionInfo(tcpi_state=5)
    assert CONNECTION_INFO.size == len(bytes(info)) == 112
    for name, value in (
        ("tcpi_snd_sbbytes", 0x01020304),
        ("tcpi_srtt", 0x11121314),
        ("tcpi_txpackets", 21),
        ("tcpi_rxpackets", 1 << 33 | 5),
        ("tcpi_rxbytes", 23),
        ("tcpi_txretransmitpackets", 24),
    ):
        setattr(info, name, value)
    found = parse_connection_info(bytes(info))
    assert found == ConnectionInfo(5, 0x01020304, 0x11121314, 21, 1 << 33 | 5, 23, 24)


@pytest.mark.parametrize(("state", "end"), [(4, 0), (5, 1), (6, 0), (7, 1), (8, 1), (9, 0)])
def test_the_end_of_a_stream_counts_as_a_byte(state: int, end: int) -> None:
    """netinet/tcp_fsm.h:79-87."""
    found = tcp_info(ConnectionInfo(state, 9, 250, 21, 1 << 33 | 5, 100, 2))
    assert found == TcpInfo(5, 100 + end, None, True, 0.25, Resent(21, 2))
    assert tcp_info(ConnectionInfo(4, 0, 0, 0, 0, 0, 0)).round_trip is None
