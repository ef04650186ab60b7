"""TCP, as far as a router speaks it itself: the reset (RFC 9293)."""

from __future__ import annotations

from struct import pack, unpack_from
from typing import Final

from router.wire import ip
from router.wire.checksum import checksum, pseudo_header

HEADER: Final = 20
FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10


def reset(segment: ip.Packet) -> bytes | None:
    """The reset that a closed port answers `segment` with (RFC 9293, section 3.10.7.1).

    None where there must be none: the segment is itself a reset, is cut off, or is a fragment.
    """
    data, start = segment.data, segment.payload
    if segment.is_fragment or len(data) < start + HEADER:
        return None
    source_port, destination_port, sequence, acknowledged, offset, flags = unpack_from(
        "!HHIIBB", data, start
    )
    header = (offset >> 4) * 4
    if flags & RST or header < HEADER or len(data) < start + header:
        return None
    if flags & ACK:
        answer = (acknowledged, 0, RST)
    else:
        length = len(data) - start - header + bool(flags & SYN) + bool(flags & FIN)
        answer = (0, (sequence + length) & 0xFFFFFFFF, RST | ACK)
    body = pack("!HHIIBBHHH", destination_port, source_port, *answer[:2], 0x50, answer[2], 0, 0, 0)
    initial = pseudo_header(segment.destination, segment.source, HEADER, ip.TCP)
    body = body[:16] + checksum(body, initial).to_bytes(2, "big") + body[18:]
    return ip.build(segment.destination, segment.source, ip.TCP, body)
