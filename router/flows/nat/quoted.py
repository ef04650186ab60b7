"""Translation of ICMP errors about ICMP queries and UDP datagrams: of the error and of its quote.

An error quotes the beginning of the packet that caused it, with our address and the outside
identifier or port. It is translated to quote the packet as its sender inside sent it: with the
inside address and identifier, and with every quoted checksum correct (RFC 5508, REQ-3 to REQ-5).
The length of the quote depends on the sender of the error; an RFC 4884 extension behind it stays.
Errors from the inside, about a packet that was delivered there, are translated in the other
direction by the same rules.
"""

from __future__ import annotations

from struct import unpack_from
from typing import Any, Final, NamedTuple

from router.flows.drops import Drop
from router.flows.icmp import Binding
from router.wire import icmp, ip, udp
from router.wire.checksum import is_valid, ones_complement_sum, update
from router.wire.fragments import FRAGMENT_HEADER
from router.wire.headers import (
    DESTINATION,
    DESTINATION_PORT,
    HOP_LIMIT,
    ICMP_CHECKSUM,
    ICMP_HEADER,
    ICMP_IDENTIFIER,
    PROTOCOL,
    SOURCE,
    UDP_CHECKSUM,
    V4_FRAGMENT,
    fill_in_v4_checksum,
)

FORWARDED: Final = {
    4: frozenset({icmp.UNREACHABLE, icmp.TIME_EXCEEDED, icmp.PARAMETER_PROBLEM}),
    6: frozenset(range(icmp.UNREACHABLE_V6, icmp.PARAMETER_PROBLEM_V6 + 1)),
}
"""Not source quench and redirects, which concern the link of the router alone."""
CHECKSUM: Final = {ip.ICMP: ICMP_CHECKSUM, ip.ICMPV6: ICMP_CHECKSUM, ip.UDP: UDP_CHECKSUM}
NEEDED: Final = {ip.ICMP: ICMP_IDENTIFIER + 2, ip.ICMPV6: ICMP_IDENTIFIER + 2, ip.UDP: udp.HEADER}
"""How many bytes of the upper header must be quoted to find the flow and to translate the quote.
RFC 792 and RFC 4443 require no less than 8."""


class Quote(NamedTuple):
    """The packet that an error is about: an ICMP message or a UDP datagram.

    header, upper           offsets into the error's data, of its IP header and of what follows
    protocol                of the latter
    fields                  its first bytes, NEEDED of them
    source, destination     of the packet
    """

    header: int
    upper: int
    protocol: int
    fields: bytes
    source: bytes
    destination: bytes

    @property
    def kind(self) -> int:
        """Of a message: its type."""
        return self.fields[0]

    @property
    def identifier(self) -> int:
        """Of a message that has one."""
        return int.from_bytes(self.fields[ICMP_IDENTIFIER : ICMP_IDENTIFIER + 2], "big")

    @property
    def source_port(self) -> int:
        """Of a datagram."""
        return int.from_bytes(self.fields[:DESTINATION_PORT], "big")

    @property
    def destination_port(self) -> int:
        """Of a datagram."""
        return int.from_bytes(self.fields[DESTINATION_PORT : DESTINATION_PORT + 2], "big")


def read(error: ip.Packet) -> Quote | Drop:
    """The packet that an ICMP error quotes, or why no flow can have that packet.

    error: an ICMP error, unfragmented; its own checksum is the caller's affair.
    """
    header = error.payload + ICMP_HEADER
    if len(error.data) < header + 1:
        return Drop.MALFORMED
    if error.data[error.payload] not in FORWARDED[error.version]:
        return Drop.ICMP_TYPE
    if error.data[header] >> 4 != error.version:
        return Drop.NO_BINDING
    found = _upper_v4(error.data, header) if error.version == 4 else _upper_v6(error.data, header)
    return found if isinstance(found, Drop) else _quote(error, header, *found)


def restore(error: ip.Packet, quote: Quote, binding: Binding[Any], source: bytes) -> bytes:
    """The error to the sender of the query, from the address `source`."""
    packet = bytearray(error.data)
    at = quote.header + SOURCE[error.version]
    _change_quote(packet, quote, at, binding.source, ICMP_IDENTIFIER, binding.inside_id)
    _finish(packet, error, source, binding.source)
    return bytes(packet)


def outward(error: ip.Packet, quote: Quote, ours: bytes, number: int) -> bytes:
    """The error from the inside about a packet delivered there, to the sender of that packet: from
    our address, about the packet as it was sent to us.

    ours, number: our address on the outbound, and the outside identifier or port.
    """
    packet = bytearray(error.data)
    at = quote.header + DESTINATION[error.version]
    number_at = DESTINATION_PORT if quote.protocol == ip.UDP else ICMP_IDENTIFIER
    _change_quote(packet, quote, at, ours, number_at, number)
    _finish(packet, error, ours, error.destination)
    return bytes(packet)


def _quote(error: ip.Packet, header: int, protocol: int, upper: int) -> Quote | Drop:
    if protocol not in (icmp.protocol_of(error.version), ip.UDP):
        return Drop.NO_BINDING
    fields = error.data[upper : upper + NEEDED[protocol]]
    if len(fields) < NEEDED[protocol]:
        return Drop.MALFORMED
    source, destination = (
        bytes(error.data[header + at : header + at + len(error.source)])
        for at in (SOURCE[error.version], DESTINATION[error.version])
    )
    return Quote(header, upper, protocol, fields, source, destination)


def _upper_v4(data: bytes, header: int) -> tuple[int, int] | Drop:
    """Protocol and offset of what follows the quoted header, whose checksum must be right (RFC 5508
    REQ-3)."""
    length = (data[header] & 0x0F) << 2
    if length < ip.IPV4_HEADER or len(data) < header + length:
        return Drop.MALFORMED
    if not is_valid(data[header : header + length]):
        return Drop.BAD_CHECKSUM
    if unpack_from("!H", data, header + V4_FRAGMENT)[0] & ip.FRAGMENT_OFFSET:
        return Drop.NO_BINDING
    return data[header + PROTOCOL[4]], header + length


def _upper_v6(data: bytes, header: int) -> tuple[int, int] | Drop:
    """Likewise. Only a fragment header is passed over: we send no other extension header."""
    if len(data) < header + ip.IPV6_HEADER:
        return Drop.MALFORMED
    protocol, upper = data[header + PROTOCOL[6]], header + ip.IPV6_HEADER
    if protocol == ip.FRAGMENT:
        if len(data) < upper + FRAGMENT_HEADER:
            return Drop.MALFORMED
        if unpack_from("!H", data, upper + 2)[0] & 0xFFF8:
            return Drop.NO_BINDING
        protocol, upper = data[upper], upper + FRAGMENT_HEADER
    return protocol, upper


def _change_quote(
    packet: bytearray, quote: Quote, at: int, address: bytes, number_at: int, number: int
) -> None:
    """Put another address at `at`, which is in the quoted header, and another number at `number_at`
    in what follows it; what is quoted of their checksums stays right.

    All but ICMP for IPv4 count the address in the upper one. Zero means in UDP that there is none.
    """
    old = ones_complement_sum(packet[at : at + len(address)])
    packet[at : at + len(address)] = address
    if len(address) == 4:
        fill_in_v4_checksum(packet, quote.header, quote.upper)
    number_at += quote.upper
    old_number = int.from_bytes(packet[number_at : number_at + 2], "big")
    packet[number_at : number_at + 2] = number.to_bytes(2, "big")
    at = quote.upper + CHECKSUM[quote.protocol]
    field = int.from_bytes(packet[at : at + 2], "big")
    if quote.protocol == ip.UDP and not field:
        return
    field = update(field, old_number, number)
    if quote.protocol != ip.ICMP:
        field = update(field, old, ones_complement_sum(address))
    if quote.protocol == ip.UDP:
        field = field or 0xFFFF
    packet[at : at + 2] = field.to_bytes(2, "big")


def _finish(packet: bytearray, error: ip.Packet, source: bytes, destination: bytes) -> None:
    """Set the addresses, the hop limit and the checksums of the error itself."""
    start, version, size = error.payload, error.version, len(source)
    packet[HOP_LIMIT[version]] -= 1
    packet[SOURCE[version] : SOURCE[version] + size] = source
    packet[DESTINATION[version] : DESTINATION[version] + size] = destination
    if version == 4:
        fill_in_v4_checksum(packet, 0, start)
    packet[start:] = icmp.message(version, source, destination, _without_checksum(packet[start:]))


def _without_checksum(message: bytearray) -> bytes:
    message[ICMP_CHECKSUM : ICMP_CHECKSUM + 2] = b"\0\0"
    return bytes(message)
