"""ICMP errors from outside: which flow they are about, and how its sender is to read them.

An error quotes the beginning of the packet that caused it, as that left us: from our address, under
the outside identifier. Its sender is to find the packet that it sent: its own address, its own
identifier, every checksum that is in the quote right again (RFC 5508, REQ-3 to REQ-5). How much is
quoted is up to who sent the error; an RFC 4884 extension behind the quote stays where it is.
"""

from __future__ import annotations

from struct import unpack_from
from typing import Any, Final, NamedTuple

from router.flows.drops import Drop
from router.flows.queries import Binding
from router.wire import icmp, ip
from router.wire.checksum import (
    checksum,
    is_valid,
    ones_complement_sum,
    pseudo_header,
    update,
)

ERROR_HEADER: Final = 8
FORWARDED: Final = {
    4: frozenset({icmp.UNREACHABLE, icmp.TIME_EXCEEDED, icmp.PARAMETER_PROBLEM}),
    6: frozenset(range(icmp.UNREACHABLE_V6, icmp.PARAMETER_PROBLEM_V6 + 1)),
}
"""Not source quench and redirects, which are no business of anybody behind us."""
IDENTIFIER_END: Final = 6
"""Of an ICMP header, as much as must be quoted for the flow to be known."""


class Quote(NamedTuple):
    """The query that an error is about. Offsets are into the error's data."""

    header: int
    message: int
    destination: bytes
    kind: int
    identifier: int


def read(error: ip.Packet) -> Quote | Drop:
    """What an ICMP error quotes, or why it can be about no query of ours.

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
    if kind not in icmp.ANSWER_TO[error.version]:
        return Drop.NO_BINDING
    at = header + (16 if error.version == 4 else 24)
    destination = error.data[at : at + (4 if error.version == 4 else 16)]
    return Quote(header, message, destination, kind, identifier)


def restore(error: ip.Packet, quote: Quote, binding: Binding[Any], source: bytes) -> bytes:
    """The error as the sender of the query is to see it, from the router `source`."""
    packet = bytearray(error.data)
    if error.version == 4:
        _restore_quote_v4(packet, quote, binding)
        _finish_v4(packet, error.payload, source, binding.source)
    else:
        _restore_quote_v6(packet, quote, binding)
        _finish_v6(packet, error.payload, source, binding.source)
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


def _restore_quote_v4(packet: bytearray, quote: Quote, binding: Binding[Any]) -> None:
    header = quote.header
    packet[header + 12 : header + 16] = binding.source
    _fill_in_header_checksum(packet, header, quote.message)
    _restore_message(packet, quote, binding.inside_id, 0, 0)


def _restore_quote_v6(packet: bytearray, quote: Quote, binding: Binding[Any]) -> None:
    """The addresses are part of the checksum in the quote."""
    at = quote.header + 8
    ours = ones_complement_sum(packet[at : at + 16])
    packet[at : at + 16] = binding.source
    _restore_message(packet, quote, binding.inside_id, ours, ones_complement_sum(binding.source))


def _restore_message(
    packet: bytearray, quote: Quote, identifier: int, old_source: int, new_source: int
) -> None:
    at = quote.message
    field = update(int.from_bytes(packet[at + 2 : at + 4], "big"), quote.identifier, identifier)
    packet[at + 2 : at + 4] = update(field, old_source, new_source).to_bytes(2, "big")
    packet[at + 4 : at + 6] = identifier.to_bytes(2, "big")


def _finish_v4(packet: bytearray, start: int, source: bytes, destination: bytes) -> None:
    packet[8] -= 1
    packet[12:16], packet[16:20] = source, destination
    _fill_in_header_checksum(packet, 0, start)
    packet[start + 2 : start + 4] = b"\0\0"
    packet[start + 2 : start + 4] = checksum(packet[start:]).to_bytes(2, "big")


def _finish_v6(packet: bytearray, start: int, source: bytes, destination: bytes) -> None:
    packet[7] -= 1
    packet[8:24], packet[24:40] = source, destination
    packet[start + 2 : start + 4] = b"\0\0"
    body = packet[start:]
    field = checksum(body, pseudo_header(source, destination, len(body), ip.ICMPV6))
    packet[start + 2 : start + 4] = field.to_bytes(2, "big")


def _fill_in_header_checksum(packet: bytearray, start: int, end: int) -> None:
    packet[start + 10 : start + 12] = b"\0\0"
    packet[start + 10 : start + 12] = checksum(packet[start:end]).to_bytes(2, "big")
