"""UDP by UDP ASSOCIATE: one association for each inside address and port.

Theory of operation. The channel has its UDP socket at once, and asks for an association when the
first datagram is to be sent; what is sent until the proxy has answered waits. From then on every
datagram goes to the relay that the proxy has named, behind a header with its destination, and what
comes from there has its sender in such a header. When the proxy ends the association, or does not
answer in time, the next datagram asks for another.

While the proxy is known to carry no UDP, nothing is asked and every datagram is refused.
A refusal is reported as the network reports an error: by `errors`, for each datagram that waits.

Always true: what does not come from the relay, is a fragment or has a damaged header is dropped and
counted; what waits is at most MOST_WAITING datagrams.

Must not know: mappings, and which flow a datagram belongs to.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Final

from router.flows.drops import Drop
from router.outbound.base import DatagramChannel
from router.outbound.socks5.association import Association, Proxy, State
from router.outbound.socks5.way import version_of
from router.platform.base.descriptors import Bytes
from router.platform.base.sockets import Arrived, NetworkError
from router.policy.proxies import overhead
from router.wire import ip
from router.wire.icmp import Error
from router.wire.socks5 import (
    ADDRESS,
    FRAGMENT,
    parse_endpoint,
    udp_header,
    udp_header_size,
)

MOST_WAITING: Final = 64
MOST_HEADERS: Final = 256
"""Destinations whose header is kept."""
HOP_LIMIT: Final = 64
"""Of what goes to the relay; that of a datagram counts hops to its destination."""
MOST_SEGMENTS: Final = 32
"""Of one run; their headers have to fit in one datagram of the system as well."""

Waiting = tuple[Bytes, tuple[str, int], tuple[int, int, int]]


class Socks5Datagrams:
    """See DatagramChannel.

    version: of the destinations. server: the proxy's address, of the family of `channel`, which
    sends to it from the address `source`.
    """

    most_segments = MOST_SEGMENTS

    def __init__(
        self, version: int, server: bytes, source: bytes, channel: DatagramChannel, proxy: Proxy
    ) -> None:
        self.port = channel.port
        self.fileno = channel.fileno
        self._version = version
        self._server = server
        self._source = source
        self._channel = channel
        self._proxy = proxy
        self._association = Association(
            *(server, proxy, self._opened, self._refuse_waiting, self._drop_waiting)
        )
        self._relay_address = "", 0
        self._relay_name = b""
        self._fields = 0, 0, 0
        self._headers: dict[tuple[str, int], bytes] = {}
        self._waiting: list[Waiting] = []
        self._reported: list[NetworkError] = []

    @property
    def is_lost(self) -> bool:
        return self._channel.is_lost or self._proxy.has_lost_source(self._source)

    # Sending

    def sends_with(self, hop_limit: int, traffic_class: int, dont_fragment: int) -> bool:
        return self._fields == (hop_limit, traffic_class, dont_fragment)

    def send_with(self, hop_limit: int, traffic_class: int, dont_fragment: int) -> None:
        self._fields = hop_limit, traffic_class, dont_fragment
        self._apply_fields()

    def send(self, payload: Bytes, address: tuple[str, int]) -> object:
        if self._association.state is State.OPEN:
            self._channel.send(b"".join((self._header(address), payload)), self._relay_address)
        else:
            self._wait(payload, address)
        return None

    def send_run(self, payloads: Bytes, size: int, address: tuple[str, int]) -> object:
        parts = [payloads[at : at + size] for at in range(0, len(payloads), size)]
        if self._association.state is not State.OPEN:
            for part in parts:
                self._wait(part, address)
            return None
        header = self._header(address)
        run = b"".join(piece for part in parts for piece in (header, part))
        self._channel.send_run(run, size + len(header), self._relay_address)
        return None

    def _apply_fields(self) -> None:
        _, traffic_class, dont_fragment = self._fields
        if not self._channel.sends_with(HOP_LIMIT, traffic_class, dont_fragment):
            self._channel.send_with(HOP_LIMIT, traffic_class, dont_fragment)

    def _header(self, address: tuple[str, int]) -> bytes:
        header = self._headers.get(address)
        if header is None:
            if len(self._headers) >= MOST_HEADERS:
                self._headers.clear()
            header = udp_header(packed(address[0]), address[1])
            self._headers[address] = header
        return header

    def _wait(self, payload: Bytes, address: tuple[str, int]) -> None:
        """Raises OSError where the proxy carries no UDP, and where too much waits."""
        if self._association.state is State.IDLE and not self._proxy.offers_udp:
            raise OSError(errno.EACCES, "the proxy carries no UDP")
        if len(self._waiting) >= MOST_WAITING:
            raise BlockingIOError
        self._waiting.append((bytes(payload), address, self._fields))
        if self._association.state is State.IDLE:
            self._ask()

    def _ask(self) -> None:
        try:
            self._association.ask()
        except OSError:
            self._waiting.clear()
            raise

    def _opened(self) -> None:
        address, port = self._association.relay
        self._relay_address = ip.format_address(address), port
        self._relay_name = b""
        waiting, self._waiting = self._waiting, []
        for payload, destination, fields in waiting:
            self._fields = fields
            try:
                self._apply_fields()
                self.send(payload, destination)
            except OSError:
                self._proxy.count(Drop.NO_BUFFER)

    def _drop_waiting(self) -> None:
        for _ in self._waiting:
            self._proxy.count(Drop.NO_BUFFER)
        self._waiting.clear()

    def _refuse_waiting(self) -> None:
        """Administratively prohibited, so that QUIC falls back at once."""
        kind, code = Error.PROHIBITED.type_and_code(self._version)
        for payload, (host, port), _ in self._waiting:
            destination = packed(host)
            self._reported.append(
                NetworkError(
                    *(bytes(len(destination)), kind, code, 0, destination, port),
                    *(bytes(payload), HOP_LIMIT, 0),
                )
            )
        self._waiting.clear()
        if self._reported:
            self._proxy.report(self)

    # Receiving

    def receive(self) -> Sequence[Arrived]:
        if self._reported:
            raise OSError(errno.EACCES, "the proxy carries no UDP")
        found: list[Arrived] = []
        for arrived in self._channel.receive():
            if self._is_relay(arrived.sender):
                found += self._unwrapped(arrived)
            else:
                for _ in arrived.payloads:
                    self._proxy.count(Drop.FILTERED)
        return found

    def _is_relay(self, sender: bytes) -> bool:
        if sender == self._relay_name:
            return True
        association = self._association
        if (
            association.state is not State.OPEN
            or self._channel.endpoint(sender) != association.relay
        ):
            return False
        self._relay_name = sender
        return True

    def _unwrapped(self, arrived: Arrived) -> Iterator[Arrived]:
        """Datagrams of one sender behind each other as one again, so that they stay a run."""
        sender, payloads = b"", list[Bytes]()
        for datagram in arrived.payloads:
            size = udp_header_size(datagram)
            if size is None or datagram[FRAGMENT]:
                self._proxy.count(Drop.MALFORMED if size is None else Drop.FRAGMENT)
                continue
            name = bytes(datagram[ADDRESS:size])
            if payloads and (name != sender or len(payloads[-1]) != len(payloads[0])):
                yield Arrived(sender, payloads, arrived.hop_limit, arrived.traffic_class)
                payloads = []
            sender = name
            payloads.append(memoryview(datagram)[size:])
        if payloads:
            yield Arrived(sender, payloads, arrived.hop_limit, arrived.traffic_class)

    def endpoint(self, sender: bytes) -> tuple[bytes, int]:
        return parse_endpoint(sender)

    def errors(self) -> Iterator[NetworkError]:
        """What the network reports about datagrams to the relay is not about those of the
        application, but for the MTU of the path."""
        reported, self._reported = self._reported, []
        yield from reported
        less = overhead(version_of(self._server), self._version)
        for error in self._channel.errors():
            if error.value:
                yield error._replace(offender=None, value=error.value - less)
            elif self._association.state is State.OPEN:
                self._association.end()

    def close(self) -> None:
        self._association.end()
        self._channel.close()


def packed(address: str) -> bytes:
    """4 or 16 bytes."""
    return ip_address(address).packed
