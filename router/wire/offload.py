"""Frames of a TUN device: what the system left to be done, and the packet.

A frame is a header of HEADER bytes and a packet. The header is a struct virtio_net_hdr
(linux/virtio_net.h); where a system knows of no such thing it is all zero, and the packet is as it
would be on a wire. Otherwise it says one or both of:

- NEEDS_CHECKSUM: the TCP or UDP checksum field holds the sum of the pseudo-header alone, not
  complemented, and whoever has hardware for it sums up the rest;
- a segmentation: the packet stands for many, of `segment size` bytes of payload each.

Flow traffic is rewritten as it is. Everything else is looked at after `packets`, so that nothing
else in the router ever sees what was left to be done.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from router.wire import ip
from router.wire.checksum import checksum, pseudo_header

HEADER: Final = 10
FIELDS: Final = Struct("=BBHHHH")
"""Flags, segmentation, header length, segment size, where the sum starts, where it goes behind."""
NOTHING_LEFT: Final = bytes(HEADER)

NEEDS_CHECKSUM: Final = 1
SEGMENT_TCP_V4: Final = 1
SEGMENT_TCP_V6: Final = 4
SEGMENT_UDP: Final = 5
"""We write these and never read them: the system is not asked to leave cutting UDP to us."""
SEGMENT_ECN: Final = 0x80

CWR: Final = 0x80
ONLY_ON_LAST: Final = 0x09
"""FIN and PSH."""


def packets(frame: bytearray, size: int) -> Iterator[bytes]:
    """The packets that the first `size` bytes of a frame stand for, as they would be on a wire.

    What is too damaged for that comes out as it is.
    """
    flags, kind, _, segment_size, start, offset = FIELDS.unpack_from(frame)
    packet = frame[HEADER:size]
    if kind & ~SEGMENT_ECN in (SEGMENT_TCP_V4, SEGMENT_TCP_V6) and segment_size:
        yield from _segments(packet, start, segment_size)
        return
    if flags & NEEDS_CHECKSUM and start + offset + 2 <= len(packet):
        _complete(packet, start, start + offset)
    yield bytes(packet)


def _complete(packet: bytearray, start: int, field: int) -> None:
    """Sum up the rest. A sum of zero is sent as -0, which UDP tells from "none" (RFC 768)."""
    total = checksum(memoryview(packet)[start:]) or 0xFFFF
    packet[field : field + 2] = total.to_bytes(2, "big")


def _segments(packet: bytearray, start: int, size: int) -> Iterator[bytes]:
    """Ordinary segments for one long one, as a card would cut it (TSO)."""
    if len(packet) < start + 20:
        yield bytes(packet)
        return
    body = start + (packet[start + 12] >> 4) * 4
    flags = packet[start + 13]
    sequence = int.from_bytes(packet[start + 4 : start + 8], "big")
    payload = memoryview(packet)[body:]
    for number, at in enumerate(range(0, max(len(payload), 1), size)):
        segment = packet[:body] + payload[at : at + size]
        mask = 0xFF if at + size >= len(payload) else 0xFF ^ ONLY_ON_LAST
        segment[start + 13] = flags & (mask if at == 0 else mask & ~CWR)
        position = (sequence + at) & 0xFFFFFFFF
        segment[start + 4 : start + 8] = position.to_bytes(4, "big")
        _finish(segment, start, number)
        yield bytes(segment)


def _finish(segment: bytearray, start: int, number: int) -> None:
    """Lengths, identification and checksums of one segment; TCP begins at `start`."""
    if segment[0] >> 4 == 4:
        segment[2:4] = len(segment).to_bytes(2, "big")
        identification = int.from_bytes(segment[4:6], "big") + number
        segment[4:6] = (identification & 0xFFFF).to_bytes(2, "big")
        segment[10:12] = b"\0\0"
        segment[10:12] = checksum(segment[:start]).to_bytes(2, "big")
        source, destination = segment[12:16], segment[16:20]
    else:
        segment[4:6] = (len(segment) - ip.IPV6_HEADER).to_bytes(2, "big")
        source, destination = segment[8:24], segment[24:40]
    segment[start + 16 : start + 18] = b"\0\0"
    initial = pseudo_header(bytes(source), bytes(destination), len(segment) - start, ip.TCP)
    field = checksum(memoryview(segment)[start:], initial)
    segment[start + 16 : start + 18] = field.to_bytes(2, "big")
