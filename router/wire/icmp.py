"""ICMP and ICMPv6 (RFC 792, RFC 4443): types and codes of both families under one name each, and
the messages that a router makes itself.

An Error names what happened; the two families number it differently, so the number is looked up
only when the message is built. Builders give whole IP packets, checksums included.
"""

from __future__ import annotations

from enum import Enum
from struct import Struct, pack
from typing import Final, NamedTuple

from router.wire import ip
from router.wire.checksum import checksum, is_valid, pseudo_header
from router.wire.headers import (
    DESTINATION,
    ICMP_CHECKSUM,
    ICMP_HEADER,
    ICMP_IDENTIFIER,
    V6_SOURCE,
)

ICMP, ICMPV6 = ip.ICMP, ip.ICMPV6
ECHO_REPLY: Final = 0
ECHO_REQUEST: Final = 8
ECHO_REPLY_V6: Final = 129
ECHO_REQUEST_V6: Final = 128

ANSWER_TO: Final[dict[int, dict[int, int]]] = {
    4: {ECHO_REQUEST: ECHO_REPLY, 13: 14, 15: 16, 17: 18, 42: 43},
    6: {ECHO_REQUEST_V6: ECHO_REPLY_V6, 160: 161},
}
"""By family, the queries that have an identifier where an echo request has it, with the type of
their answers: echo, timestamp, information, address mask, extended echo (RFC 792, 950, 8335)."""
REQUEST_OF: Final[dict[int, dict[int, int]]] = {
    version: {answer: request for request, answer in pairs.items()}
    for version, pairs in ANSWER_TO.items()
}
UNREACHABLE: Final = 3
REDIRECT: Final = 5
TIME_EXCEEDED: Final = 11
PARAMETER_PROBLEM: Final = 12
UNREACHABLE_V6: Final = 1
PACKET_TOO_BIG_V6: Final = 2
TIME_EXCEEDED_V6: Final = 3
PARAMETER_PROBLEM_V6: Final = 4

ERROR_TYPES: Final = frozenset({UNREACHABLE, 4, REDIRECT, TIME_EXCEEDED, PARAMETER_PROBLEM})
"""IPv4 types that report an error; 4 is source quench. In IPv6 they are those below 128."""

_QUERY_V4: Final = Struct("!2xH2xHBB2x8sc3x2s")
"""Total length, flags and fragment offset, TTL, protocol, addresses, ICMP type and identifier."""
_QUERY_V6: Final = Struct("!4xHBB32sc3x2s")
"""Payload length, next header, hop limit, and the same."""

QUOTE_LIMIT: Final = {4: 576, 6: ip.IPV6_MIN_MTU}
"""Length of a whole error message at most (RFC 1812 4.3.2.3, RFC 4443 2.4 c)."""


class Error(Enum):
    """What went wrong, with (type, code) for IPv4 and for IPv6."""

    NO_ROUTE = ((3, 0), (1, 0))
    HOST_UNREACHABLE = ((3, 1), (1, 3))
    PROTOCOL_UNREACHABLE = ((3, 2), (4, 1))
    PORT_UNREACHABLE = ((3, 3), (1, 4))
    TOO_BIG = ((3, 4), (2, 0))
    PROHIBITED = ((3, 13), (1, 1))
    HOP_LIMIT_EXCEEDED = ((11, 0), (3, 0))
    REASSEMBLY_TIME_EXCEEDED = ((11, 1), (3, 1))

    def type_and_code(self, version: int) -> tuple[int, int]:
        four, six = self.value
        return four if version == 4 else six


class Message(NamedTuple):
    """The fields of an error: type, code, and the 32 bits behind the checksum."""

    kind: int
    code: int
    value: int = 0


def protocol_of(version: int) -> int:
    """The IP protocol number under which a family carries its ICMP."""
    return ip.ICMP if version == 4 else ip.ICMPV6


def is_error(packet: ip.Packet) -> bool:
    """Whether `packet` is an ICMP error (or too short to have a type)."""
    if packet.protocol != protocol_of(packet.version):
        return False
    if packet.payload >= len(packet.data):
        return True
    kind = packet.data[packet.payload]
    return kind in ERROR_TYPES if packet.version == 4 else kind < 128


def message_type(packet: ip.Packet) -> int:
    """The type of an unfragmented ICMP message with as much header as a query has; or -1."""
    if packet.protocol != (ICMP if packet.version == 4 else ICMPV6):
        return -1
    data, start = packet.data, packet.payload
    if len(data) < start + ICMP_HEADER or packet.more_fragments or packet.fragment_offset:
        return -1
    return data[start]


def query_key(packet: bytearray) -> bytes | None:
    """Addresses, type and identifier, one behind the other, of a packet that may be a query and is
    as queries usually are: whole, unfragmented, without options or extension headers, with hops
    left, and in IPv6 with the right checksum. None of any other."""
    if packet[0] == 0x45:
        return _query_key_v4(packet)
    return _query_key_v6(packet) if packet[0] >> 4 == 6 else None


def _query_key_v4(packet: bytearray) -> bytes | None:
    size = len(packet)
    if size < ip.IPV4_HEADER + ICMP_HEADER:
        return None
    total, fragment, hops, protocol, addresses, kind, number = _QUERY_V4.unpack_from(packet)
    if protocol != ICMP or total != size or hops <= 1 or fragment & ip.OF_FRAGMENTS:
        return None
    key: bytes = addresses + kind + number
    return key


def _query_key_v6(packet: bytearray) -> bytes | None:
    size = len(packet)
    if size < ip.IPV6_HEADER + ICMP_HEADER:
        return None
    length, protocol, hops, addresses, kind, number = _QUERY_V6.unpack_from(packet)
    if protocol != ICMPV6 or length != size - ip.IPV6_HEADER or hops <= 1:
        return None
    # The addresses stand right before the message: one sum over all.
    if not is_valid(packet[V6_SOURCE.start :], length + ICMPV6):
        return None
    key: bytes = addresses + kind + number
    return key


def is_echo_request(packet: ip.Packet) -> bool:
    """Whether it is an unfragmented echo request with its whole ICMP header."""
    return message_type(packet) == (ECHO_REQUEST if packet.version == 4 else ECHO_REQUEST_V6)


def is_by_destination(error: ip.Packet) -> bool:
    """Whether the source of an ICMP error is the destination of the packet that it quotes."""
    at = error.payload + ICMP_HEADER + DESTINATION[error.version]
    return error.data[at : at + len(error.source)] == error.source


def identifier(packet: ip.Packet) -> int:
    """The identifier of a query or an answer."""
    start = packet.payload + ICMP_IDENTIFIER
    return packet.data[start] << 8 | packet.data[start + 1]


def has_valid_checksum(packet: ip.Packet) -> bool:
    """Whether the ICMP checksum of an unfragmented packet is right."""
    initial = 0
    if packet.version == 6:
        length = len(packet.data) - packet.payload
        initial = pseudo_header(packet.source, packet.destination, length, ip.ICMPV6)
    return is_valid(packet.body, initial)


def message(version: int, source: bytes, destination: bytes, body: bytes) -> bytes:
    """`body`, an ICMP message whose checksum field is zero, with the field filled in."""
    initial = 0
    if version == 6:
        initial = pseudo_header(source, destination, len(body), ip.ICMPV6)
    field = checksum(body, initial).to_bytes(2, "big")
    return body[:ICMP_CHECKSUM] + field + body[ICMP_CHECKSUM + 2 :]


def echo_reply(request: ip.Packet) -> bytes:
    """The answer that the destination of an echo request would give.

    request: a whole, unfragmented echo request whose checksum is right.
    """
    version, data = request.version, request.data
    kind = ECHO_REPLY if version == 4 else ECHO_REPLY_V6
    body = bytes((kind, 0, 0, 0)) + data[request.payload + ICMP_IDENTIFIER :]
    body = message(version, request.destination, request.source, body)
    return ip.build(
        request.destination,
        request.source,
        protocol_of(version),
        body,
        traffic_class=request.traffic_class,
    )


def error(source: bytes, about: ip.Packet, what: Error, value: int = 0) -> bytes:
    """An error message about `about`, from the router address `source` to its sender.

    value: the 32 bits behind the checksum: the MTU of TOO_BIG, the pointer of an IPv6 parameter
    problem (which PROTOCOL_UNREACHABLE is there); else 0.
    """
    return error_of_type(source, about, *what.type_and_code(about.version), value)


def error_of_type(source: bytes, about: ip.Packet, kind: int, code: int, value: int) -> bytes:
    """Likewise, by the numbers.

    Quotes as much of the packet as fits (RFC 1812 4.3.2.3; RFC 4443 2.4 c). IPv4 has precedence
    6, internetwork control (RFC 1812 4.3.2.5).
    """
    version = about.version
    header = ip.IPV4_HEADER if version == 4 else ip.IPV6_HEADER
    quote = about.data[: QUOTE_LIMIT[version] - header - ICMP_HEADER]
    body = pack("!BBHI", kind, code, 0, value) + quote
    body = message(version, source, about.source, body)
    return ip.build(
        source,
        about.source,
        protocol_of(version),
        body,
        traffic_class=0xC0 if version == 4 else 0,
    )
