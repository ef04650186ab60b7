"""Translation of ICMP queries and their answers between inside and outside identifier.

The packet is otherwise unchanged but for the hop limit, which is decremented; the source of an IPv4
request is that of its flow, and where it is zero the kernel fills it in (raw(7), IP_HDRINCL). In
IPv4 the ICMP checksum is adjusted, so a wrong one stays wrong by as much; in IPv6, where the
addresses are part of the sum and the kernel computes it, callers check it first.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from router.wire import ip
from router.wire.checksum import checksum, pseudo_header, update
from router.wire.headers import (
    ICMP_CHECKSUM,
    ICMP_IDENTIFIER,
    V4_DESTINATION,
    V4_SOURCE,
    V4_TTL,
    V6_DESTINATION,
    V6_HOP_LIMIT,
    fill_in_v4_checksum,
)

_FIELD: Final = Struct("!H")
_SUM_AND_ID: Final = Struct("!HH")


def request_v4(
    request: bytes | bytearray, start: int, source: bytes, inside_id: int, outside_id: int
) -> bytearray:
    """The IPv4 packet to send for `request`, a whole one, from `source`; the header checksum is
    wrong, as the kernel computes it. start: where in it ICMP begins."""
    packet = bytearray(request)
    start += ICMP_CHECKSUM
    packet[V4_TTL] -= 1
    packet[V4_SOURCE] = source
    field = update(packet[start] << 8 | packet[start + 1], inside_id, outside_id)
    _SUM_AND_ID.pack_into(packet, start, field, outside_id)
    return packet


def request_v6(request: bytes | bytearray, start: int, outside_id: int) -> bytearray:
    """The ICMPv6 message to send for `request`, a whole packet; the kernel computes its checksum.
    start: where in it ICMPv6 begins."""
    body = bytearray(request[start:])
    _FIELD.pack_into(body, ICMP_IDENTIFIER, outside_id)
    return body


def answer(packet: ip.Packet, inside: bytes, outside_id: int, inside_id: int) -> bytearray:
    """The packet to deliver for the answer `packet`, addressed to `inside`."""
    if packet.version == 4:
        return _answer_v4(packet, inside, outside_id, inside_id)
    return _answer_v6(packet, inside, inside_id)


def _answer_v4(packet: ip.Packet, inside: bytes, outside_id: int, inside_id: int) -> bytearray:
    answer = bytearray(packet.data)
    start = packet.payload
    answer[V4_TTL] -= 1
    answer[V4_DESTINATION] = inside
    fill_in_v4_checksum(answer, 0, start)
    start += ICMP_CHECKSUM
    field = update(answer[start] << 8 | answer[start + 1], outside_id, inside_id)
    _SUM_AND_ID.pack_into(answer, start, field, inside_id)
    return answer


def _answer_v6(packet: ip.Packet, inside: bytes, inside_id: int) -> bytearray:
    """The kernel has verified the checksum of what a raw socket receives: it is computed anew."""
    answer = bytearray(packet.data)
    start = packet.payload
    answer[V6_HOP_LIMIT] -= 1
    answer[V6_DESTINATION] = inside
    _SUM_AND_ID.pack_into(answer, start + ICMP_CHECKSUM, 0, inside_id)
    body = answer[start:]
    field = checksum(body, pseudo_header(packet.source, inside, len(body), ip.ICMPV6))
    _FIELD.pack_into(answer, start + ICMP_CHECKSUM, field)
    return answer
