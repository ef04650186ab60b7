"""ICMP errors: which flow they are about, and how the other side is to read them.

An error quotes the beginning of the packet that caused it, as that left us: from our address, under
the outside identifier. Its sender is to find the packet that it sent: its own address, its own
identifier, every checksum that is in the quote right again (RFC 5508, REQ-3 to REQ-5). How much is
quoted is up to who sent the error; an RFC 4884 extension behind the quote stays where it is. Errors
from inside, about an answer that was handed in, go the other way by the same rules.
"""

from __future__ import annotations

from struct import pack, unpack_from
from typing import Any, Final, NamedTuple

from router.flows.drops import Drop
from router.flows.queries import Binding
from router.wire import icmp, ip
from router.wire.checksum import checksum, is_valid, ones_complement_sum, update

ERROR_HEADER: Final = 8
FORWARDED: Final = {
    4: frozenset({icmp.UNREACHABLE, icmp.TIME_EXCEEDED, icmp.PARAMETER_PROBLEM}),
    6: frozenset(range(icmp.UNREACHABLE_V6, icmp.PARAMETER_PROBLEM_V6 + 1)),
}
"""Not source quench and redirects, which are no business of anybody behind us."""
SOURCE: Final = {4: 12, 6: 8}
DESTINATION: Final = {4: 16, 6: 24}
"""Where the addresses stand in a header."""
IDENTIFIER_END: Final = 6
"""Of an ICMP header, as much as must be quoted for the flow to be known."""


class Quote(NamedTuple):
    """The ICMP message that an error is about. Offsets are into the error's data."""

    header: int
    message: int
    source: bytes
    destination: bytes
    kind: int
    identifier: int


def read(error: ip.Packet) -> Quote | Drop:
    """What an ICMP error quotes, or why it can be about no query, and no answer, of ours.

    error: an ICMP error, unfragmented; its own checksum is the caller's affair.
    """
    header = error.payload + ERROR_HEADER
    if len(error.data) < header + 1:
        return Drop.MALFORMED
    if error.data[error.payload] not in FORWARDED[error.version]:
        return Drop.ICMP_TYPE
    message = _message(error, header)
    if isinstance(message, Drop):
        return message
    kind, identifier = error.data[message], unpack_from("!H", error.data, message + 4)[0]
    source, destination = (
        bytes(error.data[header + at : header + at + len(error.source)])
        for at in (SOURCE[error.version], DESTINATION[error.version])
    )
    return Quote(header, message, source, destination, kind, identifier)


def restore(error: ip.Packet, quote: Quote, binding: Binding[Any], source: bytes) -> bytes:
    """The error as the sender of the query is to see it, from the router `source`."""
    packet = bytearray(error.data)
    at = quote.header + SOURCE[error.version]
    _change_quote(packet, error.version, quote, at, binding.source, binding.inside_id)
    _finish(packet, error, source, binding.source)
    return bytes(packet)


def outward(error: ip.Packet, quote: Quote, binding: Binding[Any], ours: bytes) -> bytes:
    """An error from inside, about an answer that was handed in, as whoever answered is to see it:
    from us, about what he sent to us. `ours` is our address on the way out."""
    packet = bytearray(error.data)
    at = quote.header + DESTINATION[error.version]
    _change_quote(packet, error.version, quote, at, ours, binding.outside_id)
    _finish(packet, error, ours, error.destination)
    return bytes(packet)


def _message(error: ip.Packet, header: int) -> int | Drop:
    """Where the quoted ICMP message begins, which is there up to its identifier."""
    if error.data[header] >> 4 != error.version:
        return Drop.NO_BINDING
    message = _message_v4(error.data, header) if error.version == 4 else _message_v6(error, header)
    if isinstance(message, int) and len(error.data) < message + IDENTIFIER_END:
        return Drop.MALFORMED
    return message


def _message_v4(data: bytes, header: int) -> int | Drop:
    """RFC 5508 REQ-3: the quoted header must be sound."""
    length = (data[header] & 0x0F) << 2
    if length < ip.IPV4_HEADER or len(data) < header + length:
        return Drop.MALFORMED
    if not is_valid(data[header : header + length]):
        return Drop.BAD_CHECKSUM
    offset = (data[header + 6] & 0x1F) << 8 | data[header + 7]
    if data[header + 9] != ip.ICMP or offset:
        return Drop.NO_BINDING
    return header + length


def _message_v6(error: ip.Packet, header: int) -> int | Drop:
    """Behind a fragment header at most: we send no other, and fragments of what is too long."""
    data = error.data
    if len(data) < header + ip.IPV6_HEADER:
        return Drop.MALFORMED
    protocol, message = data[header + 6], header + ip.IPV6_HEADER
    if protocol == ip.FRAGMENT:
        if len(data) < message + 8:
            return Drop.MALFORMED
        if unpack_from("!H", data, message + 2)[0] & 0xFFF8:
            return Drop.NO_BINDING
        protocol, message = data[message], message + 8
    return message if protocol == ip.ICMPV6 else Drop.NO_BINDING


def _change_quote(
    packet: bytearray, version: int, quote: Quote, at: int, address: bytes, identifier: int
) -> None:
    """Put another address at `at`, which is in the quoted header, and another identifier; what is
    quoted of their checksums stays right. IPv6 counts the address in the message's."""
    old = ones_complement_sum(packet[at : at + len(address)])
    packet[at : at + len(address)] = address
    if version == 4:
        _fill_in_header_checksum(packet, quote.header, quote.message)
    message = quote.message
    field = int.from_bytes(packet[message + 2 : message + 4], "big")
    field = update(field, quote.identifier, identifier)
    if version == 6:
        field = update(field, old, ones_complement_sum(address))
    packet[message + 2 : message + 6] = pack("!HH", field, identifier)


def _finish(packet: bytearray, error: ip.Packet, source: bytes, destination: bytes) -> None:
    """Addresses, one hop less to live, and the checksums of the error itself."""
    start, version, size = error.payload, error.version, len(source)
    packet[8 if version == 4 else 7] -= 1
    packet[SOURCE[version] : SOURCE[version] + size] = source
    packet[DESTINATION[version] : DESTINATION[version] + size] = destination
    if version == 4:
        _fill_in_header_checksum(packet, 0, start)
    packet[start:] = icmp.message(version, source, destination, _without_checksum(packet[start:]))


def _without_checksum(message: bytearray) -> bytes:
    return bytes(message[:2]) + b"\0\0" + bytes(message[4:])


def _fill_in_header_checksum(packet: bytearray, start: int, end: int) -> None:
    packet[start + 10 : start + 12] = b"\0\0"
    packet[start + 10 : start + 12] = checksum(packet[start:end]).to_bytes(2, "big")
