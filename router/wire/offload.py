"""Frames of a TUN device: a packet, and the offloads that are still to be done for it.

A frame is a header of HEADER bytes and a packet. The header is a struct virtio_net_hdr
(linux/virtio_net.h); on a system that has none it is all zero, and the packet is as it would be on
a wire. Otherwise it has one or both of:

- NEEDS_CHECKSUM: the TCP or UDP checksum field holds the sum of the pseudo-header alone, not
  complemented; the rest is to be added;
- a segmentation: the packet stands for many, of `segment size` bytes of payload each.

Flow traffic is rewritten as it is. Everything else is read after `packets`, so that no other part
of the router has to know of offloads.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, pack_into, unpack_from
from typing import Final

from router.wire import ip, tcp
from router.wire.checksum import checksum, pseudo_header
from router.wire.headers import (
    TCP_CHECKSUM,
    TCP_DATA_OFFSET,
    TCP_FLAGS,
    TCP_SEQUENCE,
    V4_ADDRESSES,
    V4_CHECKSUM,
    V4_DESTINATION,
    V4_FRAGMENT,
    V4_IDENTIFICATION,
    V4_PROTOCOL,
    V4_SOURCE,
    V4_TOTAL_LENGTH,
    V6_ADDRESSES,
    V6_DESTINATION,
    V6_NEXT_HEADER,
    V6_PAYLOAD_LENGTH,
    V6_SOURCE,
    fill_in_v4_checksum,
)

HEADER: Final = 10
FIELDS: Final = Struct("=BBHHHH")
"""Flags, segmentation, header length, segment size, where the sum starts, where it goes behind."""
WHERE_TO_SUM: Final = Struct("=HH")
AT_WHERE_TO_SUM: Final = 6
"""The last two of those."""
CHECKSUM: Final = Struct("!H")
NOTHING_LEFT: Final = bytes(HEADER)
AT_V4_FRAGMENT: Final = HEADER + V4_FRAGMENT
AT_V4_PROTOCOL: Final = HEADER + V4_PROTOCOL
AT_V4_CHECKSUM: Final = HEADER + V4_CHECKSUM
AT_V4_ADDRESSES: Final = HEADER + V4_ADDRESSES.start
AT_V6_NEXT_HEADER: Final = HEADER + V6_NEXT_HEADER
AT_V6_ADDRESSES: Final = HEADER + V6_ADDRESSES.start
"""Where those fields stand in a frame, if its packet is of that family."""

NEEDS_CHECKSUM: Final = 1
SEGMENT_TCP_V4: Final = 1
SEGMENT_TCP_V6: Final = 4
SEGMENT_UDP: Final = 5
"""We write these and never read them: UDP segmentation is not enabled for what we read."""
SEGMENT_ECN: Final = 0x80

CWR: Final = 0x80
ONLY_ON_LAST: Final = 0x09
"""FIN and PSH."""


def complete(frame: bytearray, size: int) -> None:
    """Sum up the rest of a checksum in place, if there is one to be summed up, over the first
    `size` bytes. A sum of zero never results, which UDP takes for "none" (RFC 768)."""
    start, offset = WHERE_TO_SUM.unpack_from(frame, AT_WHERE_TO_SUM)
    if not frame[0] & NEEDS_CHECKSUM or HEADER + start + offset + 2 > size:
        return
    total = int.from_bytes(frame[HEADER + start : size], "big")
    if size - start & 1:
        total <<= 8
    CHECKSUM.pack_into(frame, HEADER + start + offset, total % 0xFFFF ^ 0xFFFF)


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
    """Ordinary segments for one long one, as TSO hardware cuts it."""
    if not _has_headers(packet, start):
        yield bytes(packet)
        return
    body = _body(packet, start)
    flags = packet[start + TCP_FLAGS]
    (sequence,) = unpack_from("!I", packet, start + TCP_SEQUENCE)
    payload = memoryview(packet)[body:]
    for number, at in enumerate(range(0, max(len(payload), 1), size)):
        segment = packet[:body] + payload[at : at + size]
        mask = 0xFF if at + size >= len(payload) else 0xFF ^ ONLY_ON_LAST
        segment[start + TCP_FLAGS] = flags & (mask if at == 0 else mask & ~CWR)
        pack_into("!I", segment, start + TCP_SEQUENCE, sequence + at & 0xFFFFFFFF)
        _finish(segment, start, number)
        yield bytes(segment)


def _has_headers(packet: bytearray, start: int) -> bool:
    """Whether there is an IP header before `start`, and a TCP header behind it."""
    if len(packet) < start + tcp.HEADER:
        return False
    least = ip.IPV4_HEADER if packet[0] >> 4 == 4 else ip.IPV6_HEADER
    return start >= least and start + tcp.HEADER <= _body(packet, start) <= len(packet)


def _body(packet: bytearray, start: int) -> int:
    """Where the payload of a segment begins."""
    return start + (packet[start + TCP_DATA_OFFSET] >> 4) * 4


def _finish(segment: bytearray, start: int, number: int) -> None:
    """Lengths, identification and checksums of one segment; TCP begins at `start`."""
    if segment[0] >> 4 == 4:
        pack_into("!H", segment, V4_TOTAL_LENGTH, len(segment))
        (identification,) = unpack_from("!H", segment, V4_IDENTIFICATION)
        pack_into("!H", segment, V4_IDENTIFICATION, identification + number & 0xFFFF)
        fill_in_v4_checksum(segment, 0, start)
        source, destination = segment[V4_SOURCE], segment[V4_DESTINATION]
    else:
        pack_into("!H", segment, V6_PAYLOAD_LENGTH, len(segment) - ip.IPV6_HEADER)
        source, destination = segment[V6_SOURCE], segment[V6_DESTINATION]
    field = start + TCP_CHECKSUM
    pack_into("!H", segment, field, 0)
    initial = pseudo_header(bytes(source), bytes(destination), len(segment) - start, ip.TCP)
    pack_into("!H", segment, field, checksum(memoryview(segment)[start:], initial))
