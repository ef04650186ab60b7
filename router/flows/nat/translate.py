"""ICMP queries and their answers, rewritten between their inside and their outside identifier.

The packet is otherwise as it came, with one hop less to live; the source of an IPv4 request is
left zero for the kernel to fill in (raw(7), IP_HDRINCL). A wrong checksum stays as wrong as it was
in IPv4, where the field is adjusted; in IPv6, where the addresses are part of the sum and the
kernel computes it, callers check first.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from router.wire import ip
from router.wire.checksum import checksum, ones_complement_sum, pseudo_header, update

_SUM: Final = Struct("!H")
_SUM_AND_ID: Final = Struct("!HH")
_KERNEL_FILLS_IN: Final = bytes(4)


def request_v4(request: ip.Packet, inside_id: int, outside_id: int) -> bytearray:
    """The IPv4 packet to send for `request`, header included; source and header checksum zero."""
    packet = bytearray(request.data)
    start = request.payload + 2
    packet[8] -= 1
    packet[12:16] = _KERNEL_FILLS_IN
    field = update(packet[start] << 8 | packet[start + 1], inside_id, outside_id)
    _SUM_AND_ID.pack_into(packet, start, field, outside_id)
    return packet


def request_v6(request: ip.Packet, outside_id: int) -> bytearray:
    """The ICMPv6 message to send for `request`; the kernel computes its checksum."""
    body = bytearray(request.body)
    body[4:6] = outside_id.to_bytes(2, "big")
    return body


def answer(packet: ip.Packet, inside: bytes, outside_id: int, inside_id: int) -> bytearray:
    """The packet to hand in for the answer `packet`, addressed to `inside`."""
    if packet.version == 4:
        return _answer_v4(packet, inside, outside_id, inside_id)
    return _answer_v6(packet, inside, inside_id)


def _answer_v4(packet: ip.Packet, inside: bytes, outside_id: int, inside_id: int) -> bytearray:
    answer = bytearray(packet.data)
    start = packet.payload
    answer[8] -= 1
    answer[16:20] = inside
    answer[10:12] = b"\0\0"
    _SUM.pack_into(answer, 10, ones_complement_sum(answer[:start]) ^ 0xFFFF)
    start += 2
    field = update(answer[start] << 8 | answer[start + 1], outside_id, inside_id)
    _SUM_AND_ID.pack_into(answer, start, field, inside_id)
    return answer


def _answer_v6(packet: ip.Packet, inside: bytes, inside_id: int) -> bytearray:
    """The kernel has verified the checksum of what a raw socket gets, so it is computed anew."""
    answer = bytearray(packet.data)
    start = packet.payload
    answer[7] -= 1
    answer[24:40] = inside
    _SUM_AND_ID.pack_into(answer, start + 2, 0, inside_id)
    body = answer[start:]
    field = checksum(body, pseudo_header(packet.source, inside, len(body), ip.ICMPV6))
    _SUM.pack_into(answer, start + 2, field)
    return answer
