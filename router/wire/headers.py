"""Where the fields of a header stand, and the checksum of an IPv4 header.

Offsets count bytes from the beginning of the header they are named after; addresses, which code
takes as bytes, are slices. Of a field of 16 bits, the high byte stands at the offset and the low
byte behind it. Headers: IPv4 (RFC 791, 3.1), IPv6 (RFC 8200, 3), TCP
(RFC 9293, 3.1), UDP (RFC 768), ICMP (RFC 792, RFC 4443, 2.1).

Must not know: whole packets; what options and extension headers mean.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

V4_TOS: Final = 1
V4_TOTAL_LENGTH: Final = 2
V4_IDENTIFICATION: Final = 4
V4_FRAGMENT: Final = 6
"""Flags and fragment offset."""
V4_TTL: Final = 8
V4_PROTOCOL: Final = 9
V4_CHECKSUM: Final = 10
V4_SOURCE: Final = slice(12, 16)
V4_DESTINATION: Final = slice(16, 20)
V4_ADDRESSES: Final = slice(12, 20)

V6_PAYLOAD_LENGTH: Final = 4
V6_NEXT_HEADER: Final = 6
V6_HOP_LIMIT: Final = 7
V6_SOURCE: Final = slice(8, 24)
V6_DESTINATION: Final = slice(24, 40)
V6_ADDRESSES: Final = slice(8, 40)

PROTOCOL: Final = {4: V4_PROTOCOL, 6: V6_NEXT_HEADER}
HOP_LIMIT: Final = {4: V4_TTL, 6: V6_HOP_LIMIT}
SOURCE: Final = {4: V4_SOURCE.start, 6: V6_SOURCE.start}
DESTINATION: Final = {4: V4_DESTINATION.start, 6: V6_DESTINATION.start}
"""The same by IP version."""

DESTINATION_PORT: Final = 2
PORTS: Final = 4
"""Bytes at the beginning of a TCP or UDP header that hold both ports, source first."""

TCP_SEQUENCE: Final = 4
TCP_DATA_OFFSET: Final = 12
"""In its high half: the length of the header in 32-bit words."""
TCP_FLAGS: Final = 13
TCP_CHECKSUM: Final = 16

UDP_LENGTH: Final = 4
UDP_CHECKSUM: Final = 6

ICMP_CHECKSUM: Final = 2
ICMP_IDENTIFIER: Final = 4
ICMP_SEQUENCE: Final = 6
ICMP_HEADER: Final = 8
"""Bytes of the header of every ICMP message that the router reads: what an error quotes follows."""

V4_FIELDS: Final = Struct("!BxHxxHBBxx4s4s")
"""All that a packet is read for at once: version and header length, total length, flags and
fragment offset, TTL, protocol, source, destination."""

_FIELD: Final = Struct("!H")


def fill_in_v4_checksum(packet: bytearray, start: int, end: int) -> None:
    """Compute the checksum of the IPv4 header that stands in packet[start:end], and put it there.

    Every ICMP answer passes here, so the sum of router.wire.checksum is inlined: a header has an
    even length and is never all zero, which spares two calls.
    """
    field = start + V4_CHECKSUM
    _FIELD.pack_into(packet, field, 0)
    total = int.from_bytes(packet[start:end], "big") % 0xFFFF or 0xFFFF
    _FIELD.pack_into(packet, field, total ^ 0xFFFF)
