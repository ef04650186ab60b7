"""ICMP errors about datagrams and connection requests, where an ICMP socket alone receives them.

Theory of operation. On a system whose sockets keep no errors (Sockets.reports_errors), the query
channel of an outbound reads every ICMP error that arrives by its interface. One that quotes UDP or
TCP is taken here and given to the socket that has sent what is quoted: a channel for datagrams then
has it among its `errors`, and an attempt to connect has failed by it, as if the system had said so.

Always true: an error reaches a socket only if all that it quotes of addresses and ports is the
socket's own, and its checksum is right. The sequence number of a quoted request is not compared:
the kernel does not tell it. An error ends nothing but an attempt to connect, and "too big" not even
that.

Must not know: flows, system calls.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

from router.flows.drops import Drop
from router.flows.nat import quoted
from router.flows.nat.quoted_tcp import quoted_key
from router.outbound.udp import SocketDatagrams
from router.platform.base.descriptors import HasFileno
from router.platform.base.sockets import Arrived, DatagramSocket, NetworkError
from router.platform.base.tcp import ConnectFailure
from router.wire import icmp, ip, udp
from router.wire.headers import ICMP_HEADER
from router.wire.icmp import Error

MOST_ERRORS: Final = 64
"""Of a socket, waiting to be read; a further one is lost, as by a full queue."""
REFUSALS: Final = {
    version: frozenset(
        each.type_and_code(version) for each in (Error.PORT_UNREACHABLE, Error.PROTOCOL_UNREACHABLE)
    )
    for version in (4, 6)
}
"""Of the destination itself: connection refused."""


class FailingDial(Protocol):
    """An attempt to connect that an error can end."""

    def fail(self, failure: ConnectFailure) -> None: ...


class SocketErrors:
    """The sockets of one outbound.

    report_readable: see router.engine.loop. owns: whether an address is one of the outbound's.
    """

    def __init__(
        self,
        report_readable: Callable[[HasFileno], None],
        owns: Callable[[bytes], bool],
    ) -> None:
        self._report_readable = report_readable
        self._owns = owns
        self._dials: dict[bytes, FailingDial] = {}
        self._datagrams: dict[tuple[bytes, int], ReportedDatagrams] = {}

    def add_dial(self, key: bytes, dial: FailingDial) -> None:
        """key: source, destination, and both ports, of its request."""
        self._dials[key] = dial

    def remove_dial(self, key: bytes) -> None:
        self._dials.pop(key, None)

    def datagrams(self, sock: DatagramSocket, source: bytes, port: int) -> ReportedDatagrams:
        """The channel of a socket at an outside address, which may be unspecified, and port."""
        made = ReportedDatagrams(sock, port, lambda: self._datagrams.pop((source, port), None))
        self._datagrams[source, port] = made
        return made

    def take(self, packet: ip.Packet) -> bool:
        """Whether a packet is an error about a datagram or a connection; then it is delivered, if
        one of these sockets has sent that, and dropped if none has."""
        if not icmp.is_error(packet):
            return False
        key = quoted_key(packet)
        if key is not None:
            self._about_a_request(packet, key)
            return True
        quote = quoted.read(packet)
        if isinstance(quote, Drop) or quote.protocol != ip.UDP:
            return False
        if _is_sound(packet):
            self._about_a_datagram(packet, quote)
        return True

    def _about_a_request(self, error: ip.Packet, key: bytes) -> None:
        kind, code = error.body[0], error.body[1]
        is_refusal = kind in quoted.FORWARDED[error.version] and (kind, code) != (
            Error.TOO_BIG.type_and_code(error.version)
        )
        dial = self._dials.get(key)
        if dial is not None and is_refusal and _is_sound(error):
            number = (
                errno.ECONNREFUSED
                if (kind, code) in REFUSALS[error.version]
                else errno.EHOSTUNREACH
            )
            dial.fail(ConnectFailure(number, (kind, code, _value(error)), error.source))

    def _about_a_datagram(self, error: ip.Packet, quote: quoted.Quote) -> None:
        port = quote.source_port
        channel = self._datagrams.get((quote.source, port))
        if channel is None and self._owns(quote.source):
            channel = self._datagrams.get((bytes(len(quote.source)), port))
        if channel is None:
            return
        value = _value(error)
        if error.version == 4 and error.body[0] == icmp.PARAMETER_PROBLEM:
            value >>= 24
        channel.report(
            NetworkError(
                *(error.source, error.body[0], error.body[1], value),
                *(quote.destination, quote.destination_port),
                error.data[quote.upper + udp.HEADER :],
                error.hop_limit,
                error.traffic_class,
            )
        )
        self._report_readable(channel)


class ReportedDatagrams(SocketDatagrams):
    """A channel that is given its errors. closed: called when it is closed."""

    def __init__(self, sock: DatagramSocket, port: int, closed: Callable[[], object]) -> None:
        super().__init__(sock, port)
        self._closed = closed
        self._reported: list[NetworkError] = []
        self._receive_datagrams = sock.receive
        self.receive = self._receive
        self.errors = self._take_errors
        self.close = self._close

    def report(self, error: NetworkError) -> None:
        if len(self._reported) < MOST_ERRORS:
            self._reported.append(error)

    def _receive(self) -> Sequence[Arrived]:
        if self._reported:
            raise OSError(errno.EHOSTUNREACH, "an ICMP error was reported")
        return self._receive_datagrams()

    def _take_errors(self) -> Iterator[NetworkError]:
        taken, self._reported = self._reported, []
        return iter(taken)

    def _close(self) -> None:
        self._closed()
        self._socket.close()


def _is_sound(error: ip.Packet) -> bool:
    """The kernel has checked the checksum of ICMPv6."""
    return error.version == 6 or icmp.has_valid_checksum(error)


def _value(error: ip.Packet) -> int:
    """What an error carries in the 32 bits behind the checksum: an MTU, a pointer; 0 of one that
    carries nothing, whatever stands there."""
    kind, code = error.body[0], error.body[1]
    value = int.from_bytes(error.body[4:ICMP_HEADER], "big")
    if error.version == 6:
        return value if kind in (icmp.PACKET_TOO_BIG_V6, icmp.PARAMETER_PROBLEM_V6) else 0
    if (kind, code) == Error.TOO_BIG.type_and_code(4):
        return value & 0xFFFF
    return value if kind == icmp.PARAMETER_PROBLEM else 0
