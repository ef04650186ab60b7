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
from router.wire.checksum import checksum, pseudo_header, update

_SUM_AND_ID: Final = Struct("!HH")
_KERNEL_FILLS_IN: Final = bytes(4)
_HEADER_CHECKSUM: Final = slice(10, 12)


def request_v4(request: ip.Packet, inside_id: int, outside_id: int) -> bytearray:
    """The IPv4 packet to send for `request`, header included; source and header checksum zero."""
    packet = bytearray(request.data)
    packet[8] -= 1
    packet[12:16] = _KERNEL_FILLS_IN
    _change_id(packet, request.payload, inside_id, outside_id)
    return packet


def request_v6(request: ip.Packet, outside_id: int) -> bytearray:
    """The ICMPv6 message to send for `request`; the kernel computes its checksum."""
    body = bytearray(request.body)
    body[4:6] = outside_id.to_bytes(2, "big")
    return body


def answer(packet: ip.Packet, inside: bytes, outside_id: int, inside_id: int) -> bytes:
    """The packet to hand in for the answer `packet`, addressed to `inside`."""
    if packet.version == 4:
        return _answer_v4(packet, inside, outside_id, inside_id)
    return _answer_v6(packet, inside, inside_id)


def _answer_v4(answer: ip.Packet, inside: bytes, outside_id: int, inside_id: int) -> bytes:
    packet = bytearray(answer.data)
    packet[8] -= 1
    packet[16:20] = inside
    packet[_HEADER_CHECKSUM] = b"\0\0"
    header_sum = checksum(memoryview(packet)[: answer.payload])
    packet[_HEADER_CHECKSUM] = header_sum.to_bytes(2, "big")
    _change_id(packet, answer.payload, outside_id, inside_id)
    return bytes(packet)


def _answer_v6(answer: ip.Packet, inside: bytes, inside_id: int) -> bytes:
    """The kernel has verified the checksum of what a raw socket gets, so it is computed anew."""
    packet = bytearray(answer.data)
    start = answer.payload
    packet[7] -= 1
    packet[24:40] = inside
    packet[start + 4 : start + 6] = inside_id.to_bytes(2, "big")
    packet[start + 2 : start + 4] = b"\0\0"
    body = memoryview(packet)[start:]
    field = checksum(body, pseudo_header(answer.source, inside, len(body), ip.ICMPV6))
    packet[start + 2 : start + 4] = field.to_bytes(2, "big")
    return bytes(packet)


def _change_id(packet: bytearray, start: int, old: int, new: int) -> None:
    """Replace the identifier of the ICMPv4 query at `start` and adjust its checksum."""
    field = packet[start + 2] << 8 | packet[start + 3]
    _SUM_AND_ID.pack_into(packet, start + 2, update(field, old, new), new)
