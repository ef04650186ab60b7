"""TCP, as far as a router reads and sends it itself (RFC 9293): flags, sequence numbers, resets."""

from __future__ import annotations

from struct import pack, unpack_from
from typing import Final

from router.wire import ip
from router.wire.checksum import checksum, is_valid, pseudo_header
from router.wire.headers import PORTS, TCP_CHECKSUM, TCP_DATA_OFFSET, TCP_FLAGS, TCP_SEQUENCE

HEADER: Final = 20
FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
ACK: Final = 0x10
GARBAGE: Final = 1
"""Bytes of payload that a keepalive probe may have (RFC 9293, 3.8.4)."""


def bare(key: bytes) -> bytes:
    """A segment with these addresses and ports, for what looks at nothing else."""
    return ip.bare(ip.TCP, key[:-PORTS], key[-PORTS:] + bytes(HEADER - PORTS))


def is_whole(segment: ip.Packet) -> bool:
    """Whether it is unfragmented and has its whole header; the functions below require it."""
    data, start = segment.data, segment.payload
    if segment.is_fragment or len(data) < start + HEADER:
        return False
    return HEADER <= (data[start + TCP_DATA_OFFSET] >> 4) * 4 <= len(data) - start


def flags(segment: ip.Packet) -> int:
    return segment.data[segment.payload + TCP_FLAGS]


def is_request(segment: ip.Packet) -> bool:
    """Whether it requests a connection: SYN, and none of ACK, RST and FIN."""
    return flags(segment) & (SYN | ACK | RST | FIN) == SYN


def is_reset(segment: ip.Packet) -> bool:
    return bool(flags(segment) & RST)


def answers_request(segment: ip.Packet) -> bool:
    """Whether only a host sends it that has received a request: a SYN-ACK, or the reset of a closed
    port, whose sequence number is 0 (RFC 9293, section 3.10.7.1)."""
    bits = flags(segment) & (SYN | ACK | RST | FIN)
    return bits == SYN | ACK or (bits == RST | ACK and sequence(segment) == 0)


def sequence(segment: ip.Packet) -> int:
    start = segment.payload + TCP_SEQUENCE
    return int.from_bytes(segment.data[start : start + 4], "big")


def probe_sequence(frame: bytearray, start: int, size: int) -> int | None:
    """The sequence number of what may be a keepalive probe (RFC 9293, section 3.8.4): a mere
    acknowledgement, with a byte of garbage at most; None if it is anything else.

    start, size: where TCP begins in the frame, and where the frame ends.
    """
    payload = size - start - (frame[start + TCP_DATA_OFFSET] >> 4) * 4
    if frame[start + TCP_FLAGS] & (FIN | SYN | RST | ACK) != ACK or payload > GARBAGE:
        return None
    start += TCP_SEQUENCE
    return int.from_bytes(frame[start : start + 4], "big")


def ports(segment: ip.Packet) -> bytes:
    """Source and destination port, as they stand in the header."""
    return segment.data[segment.payload : segment.payload + PORTS]


def has_valid_checksum(segment: ip.Packet) -> bool:
    length = len(segment.data) - segment.payload
    return is_valid(
        segment.body, pseudo_header(segment.source, segment.destination, length, ip.TCP)
    )


def reset(segment: ip.Packet) -> bytes | None:
    """The reset that a closed port answers `segment` with (RFC 9293, section 3.10.7.1).

    None where there must be none: the segment is itself a reset, is cut off, or is a fragment.
    """
    data, start = segment.data, segment.payload
    if segment.is_fragment or len(data) < start + HEADER:
        return None
    source_port, destination_port, position, acknowledged, offset, bits = unpack_from(
        "!HHIIBB", data, start
    )
    header = (offset >> 4) * 4
    if bits & RST or header < HEADER or len(data) < start + header:
        return None
    if bits & ACK:
        answer = (acknowledged, 0, RST)
    else:
        length = len(data) - start - header + bool(bits & SYN) + bool(bits & FIN)
        answer = (0, (position + length) & 0xFFFFFFFF, RST | ACK)
    ports = destination_port, source_port
    return _built(segment.destination, segment.source, ports, answer)


def request(source: bytes, destination: bytes, ports: tuple[int, int]) -> bytes:
    """A SYN. An end of a connection with these addresses and ports answers it by saying up to where
    it has received (RFC 5961, section 4.2)."""
    return _built(source, destination, ports, (0, 0, SYN))


def _built(
    source: bytes, destination: bytes, ports: tuple[int, int], header: tuple[int, int, int]
) -> bytes:
    """header: sequence number, what is acknowledged, and flags."""
    body = pack("!HHIIBBHHH", *ports, *header[:2], 0x50, header[2], 0, 0, 0)
    field = checksum(body, pseudo_header(source, destination, HEADER, ip.TCP)).to_bytes(2, "big")
    body = body[:TCP_CHECKSUM] + field + body[TCP_CHECKSUM + 2 :]
    return ip.build(source, destination, ip.TCP, body)
