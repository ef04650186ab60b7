"""Errors that an ICMP socket alone receives reach the sockets that they are about, and no other."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import pytest

from router.outbound.base import DialRequest
from router.outbound.dial import SocketDial
from router.outbound.reported import MOST_ERRORS, ReportedDatagrams, SocketErrors
from router.platform.base.descriptors import BROKEN, WRITABLE
from router.platform.base.tcp import ConnectFailure
from router.wire import icmp, ip
from tests.unit.wire.packets import IP, TCP, UDP, IPv6

OURS = {4: "192.0.2.2", 6: "2001:db8:2::2"}
FAR = {4: "198.51.100.7", 6: "2001:db8:100::7"}
OTHER = {4: "198.51.100.8", 6: "2001:db8:100::8"}
ROUTER = {4: "203.0.113.1", 6: "2001:db8:ff::1"}
PORT, FAR_PORT = 40000, 443
PORT_UNREACHABLE = {4: (3, 3), 6: (1, 4)}
PROHIBITED = {4: (3, 13), 6: (1, 1)}
TOO_BIG = {4: (3, 4), 6: (2, 0)}
EXCEEDED = {4: (11, 0), 6: (3, 0)}
VERSIONS = pytest.mark.parametrize("version", [4, 6])


def packed(address: str) -> bytes:
    return ip_address(address).packed


def sent(version: int, upper: Any, source: str = "", destination: str = "") -> ip.Packet:
    """What has left. upper: TCP or UDP and its payload."""
    kind = IP if version == 4 else IPv6
    header = kind(src=source or OURS[version], dst=destination or FAR[version])
    return ip.parse(bytes(header / upper))


def error(about: ip.Packet, kind: tuple[int, int], value: int = 0) -> ip.Packet:
    source = packed(ROUTER[about.version])
    return ip.parse(icmp.error_of_type(source, about, *kind, value))


class Watcher:
    """See ChangeWatcher: what was reported, and what is to be called in this round."""

    def __init__(self) -> None:
        self.readable: list[Any] = []
        self.soon: list[Callable[[], None]] = []
        self.changed: dict[Any, Callable[[int], None]] = {}
        self.report_readable = self.readable.append
        self.call_soon = self.soon.append

    def watch_changes(self, source: Any, changed: Callable[[int], None]) -> None:
        self.changed[source] = changed

    def forget_changes(self, source: Any) -> None:
        del self.changed[source]


class Udp:
    """See DatagramSocket: nothing arrives."""

    most_segments = 1

    def __init__(self) -> None:
        self.is_closed = False

    def receive(self) -> list[Any]:
        raise BlockingIOError

    def close(self) -> None:
        self.is_closed = True

    def __getattr__(self, _name: str) -> Any:
        return lambda *_: 0


class Tcp:
    """See TcpSockets: an attempt to connect to loopback that fails when `error` is set."""

    error = 0

    def dialling(self, version: int, *_: Any) -> Any:
        return Connecting(OURS[version], socket.AF_INET if version == 4 else socket.AF_INET6)

    def failure(self, _sock: Any) -> ConnectFailure:
        return ConnectFailure(self.error)

    def connected(self, _sock: Any) -> None:
        pass


class Connecting:
    """A socket that connects from `PORT`."""

    def __init__(self, host: str, family: int) -> None:
        self.family = family
        self.getsockname = lambda: (host, PORT)
        self.connect_ex = lambda _address: errno.EINPROGRESS
        self.setsockopt = self.close = lambda *_: None


class Bed:
    def __init__(self, version: int) -> None:
        self.version = version
        self.watcher = Watcher()
        self.tcp = Tcp()
        self.errors = SocketErrors(
            self.watcher.report_readable, lambda address: address == packed(OURS[version])
        )
        self.events: list[int] = []

    def datagrams(self, source: str = "") -> ReportedDatagrams:
        return self.errors.datagrams(
            Udp(),
            packed(source) if source else bytes(len(packed(OURS[self.version]))),
            PORT,
        )

    def dial(self) -> SocketDial:
        request = DialRequest(packed(FAR[self.version]), FAR_PORT, 63, 0, PORT)
        interface: Any = None
        sockets: Any = self.tcp
        changed = self.events.append
        return SocketDial(sockets, self.watcher, interface, request, changed, self.errors)

    def run_soon(self) -> None:
        while self.watcher.soon:
            self.watcher.soon.pop(0)()


@pytest.fixture(params=[4, 6])
def bed(request: pytest.FixtureRequest) -> Bed:
    return Bed(request.param)


def datagram(port: int = PORT, to: int = FAR_PORT) -> Any:
    return UDP(sport=port, dport=to) / b"a question"


def request(port: int = PORT, to: int = FAR_PORT) -> Any:
    return TCP(sport=port, dport=to, flags="S", seq=77)


@pytest.mark.parametrize("is_bound", [True, False])
def test_an_error_about_a_datagram(bed: Bed, is_bound: bool) -> None:
    version = bed.version
    channel = bed.datagrams(OURS[version] if is_bound else "")
    assert bed.errors.take(error(sent(version, datagram()), PROHIBITED[version]))
    assert bed.watcher.readable == [channel]
    with pytest.raises(OSError, match="reported"):
        channel.receive()
    (found,) = channel.errors()
    assert (found.offender, found.kind, found.code, found.value) == (
        packed(ROUTER[version]),
        *PROHIBITED[version],
        0,
    )
    assert (found.destination, found.port) == (packed(FAR[version]), FAR_PORT)
    assert (found.payload, found.hop_limit) == (b"a question", 64)
    with pytest.raises(BlockingIOError):
        channel.receive()


def others(version: int, upper: Callable[..., Any]) -> Iterator[ip.Packet]:
    """Differing from the socket's in one thing each."""
    yield sent(version, upper(port=PORT + 1))
    yield sent(version, upper(), source=OTHER[version])


@pytest.mark.parametrize("is_bound", [True, False])
def test_an_error_about_another_datagram_is_taken_and_dropped(bed: Bed, is_bound: bool) -> None:
    channel = bed.datagrams(OURS[bed.version] if is_bound else "")
    for each in others(bed.version, datagram):
        assert bed.errors.take(error(each, PORT_UNREACHABLE[bed.version]))
    assert not bed.watcher.readable
    assert not list(channel.errors())


def test_an_error_about_another_request_is_taken_and_dropped(bed: Bed) -> None:
    dial = bed.dial()
    version = bed.version
    for each in (
        *others(version, request),
        sent(version, request(to=FAR_PORT + 1)),
        sent(version, request(), destination=OTHER[version]),
    ):
        assert bed.errors.take(error(each, PORT_UNREACHABLE[version]))
    assert dial.failure is None
    assert not bed.events


@pytest.mark.parametrize(
    ("kinds", "number"),
    [
        (PORT_UNREACHABLE, errno.ECONNREFUSED),
        (PROHIBITED, errno.EHOSTUNREACH),
        (EXCEEDED, errno.EHOSTUNREACH),
        ({4: (3, 0), 6: (1, 0)}, errno.EHOSTUNREACH),
        ({4: (3, 1), 6: (1, 3)}, errno.EHOSTUNREACH),
    ],
    ids=["port", "prohibited", "exceeded", "network", "host"],
)
def test_an_error_about_a_request_ends_it(
    bed: Bed, kinds: dict[int, tuple[int, int]], number: int
) -> None:
    """Also those of which xnu thinks that they may pass (netinet/tcp_subr.c:1825)."""
    version = bed.version
    dial = bed.dial()
    assert bed.errors.take(error(sent(version, request()), kinds[version]))
    assert bed.events == [BROKEN]
    expected = ConnectFailure(number, (*kinds[version], 0), packed(ROUTER[version]))
    assert dial.failure == expected


def test_too_big_and_redirects_end_no_request(bed: Bed) -> None:
    dial = bed.dial()
    about = sent(bed.version, request())
    for kind in (TOO_BIG[bed.version], {4: (5, 1), 6: (100, 0)}[bed.version]):
        assert bed.errors.take(error(about, kind, 1400))
    assert dial.failure is None


@pytest.mark.parametrize("upper", [datagram, request])
def test_a_damaged_error_reaches_nothing(upper: Callable[[], Any]) -> None:
    """The kernel checks those of IPv6."""
    bed = Bed(4)
    channel, dial = bed.datagrams(OURS[4]), bed.dial()
    data = bytearray(error(sent(4, upper()), PORT_UNREACHABLE[4]).data)
    data[23] ^= 1
    assert bed.errors.take(ip.parse(bytes(data)))
    assert not list(channel.errors())
    assert dial.failure is None


@pytest.mark.parametrize(
    ("version", "kind", "carried", "value"),
    [
        (4, (3, 4), 0xFFFF0578, 0x578),
        (4, (12, 0), 0x14000000, 0x14),
        (4, (11, 0), 0x00110000, 0),
        (6, (2, 0), 1400, 1400),
        (6, (4, 1), 40, 40),
        (6, (1, 0), 0x11000000, 0),
    ],
)
def test_what_an_error_carries(
    version: int, kind: tuple[int, int], carried: int, value: int
) -> None:
    """As a socket of Linux reports it; elsewhere the field may tell the length of a quote
    (RFC 4884)."""
    bed = Bed(version)
    channel = bed.datagrams(OURS[version])
    bed.errors.take(error(sent(version, datagram()), kind, carried))
    assert [each.value for each in channel.errors()] == [value]


@VERSIONS
def test_what_is_no_error_about_a_socket_is_left(version: int) -> None:
    bed = Bed(version)
    bed.datagrams(OURS[version])
    echo = ip.build(
        packed(OURS[version]),
        packed(FAR[version]),
        icmp.protocol_of(version),
        bytes([icmp.ECHO_REQUEST if version == 4 else icmp.ECHO_REQUEST_V6]) + bytes(15),
    )
    reply = icmp.echo_reply(ip.parse(echo))
    assert not bed.errors.take(error(ip.parse(echo), EXCEEDED[version]))
    assert not bed.errors.take(ip.parse(reply))


def test_errors_wait_in_order_and_not_without_end(bed: Bed) -> None:
    channel = bed.datagrams(OURS[bed.version])
    for port in range(MOST_ERRORS + 1):
        about = sent(bed.version, datagram(to=port + 1))
        bed.errors.take(error(about, PORT_UNREACHABLE[bed.version]))
    assert [each.port for each in channel.errors()] == [*range(1, MOST_ERRORS + 1)]


def test_a_socket_that_is_closed_gets_none(bed: Bed) -> None:
    channel, dial = bed.datagrams(OURS[bed.version]), bed.dial()
    channel.close()
    dial.abandon()
    for upper in (datagram(), request()):
        assert bed.errors.take(error(sent(bed.version, upper), PORT_UNREACHABLE[bed.version]))
    assert not bed.watcher.readable
    assert not bed.events


def test_the_error_is_read_before_the_socket_that_it_has_broken(bed: Bed) -> None:
    """xnu tells the socket first (netinet/ip_icmp.c: the label raw stands last)."""
    dial = bed.dial()
    (changed,) = bed.watcher.changed.values()
    bed.tcp.error = errno.ECONNREFUSED
    changed(BROKEN)
    assert not bed.events
    bed.errors.take(error(sent(bed.version, request()), PROHIBITED[bed.version]))
    failure = dial.failure
    bed.run_soon()
    assert failure is not None
    assert failure.icmp == (*PROHIBITED[bed.version], 0)


def test_a_reset_is_reported_in_the_same_round(bed: Bed) -> None:
    dial = bed.dial()
    (changed,) = bed.watcher.changed.values()
    bed.tcp.error = errno.ECONNREFUSED
    changed(BROKEN)
    bed.run_soon()
    assert bed.events == [BROKEN]
    assert dial.failure == ConnectFailure(errno.ECONNREFUSED)


@pytest.mark.parametrize("end", [SocketDial.abandon, SocketDial.release])
def test_a_dial_that_is_over_is_reported_no_more(bed: Bed, end: Callable[[Any], object]) -> None:
    dial = bed.dial()
    (changed,) = bed.watcher.changed.values()
    changed(WRITABLE)
    assert bed.events == [WRITABLE]
    changed(BROKEN)
    end(dial)
    bed.run_soon()
    assert bed.events == [WRITABLE]
