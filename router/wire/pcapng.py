"""Files of packets with comments: pcapng (draft-ietf-opsawg-pcapng, sections 4.1 to 4.3).

A file is a section header, one interface of raw IP packets (LINKTYPE_RAW), and an enhanced packet
block for each packet, little-endian, with times in microseconds.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

SECTION_HEADER: Final = 0x0A0D0D0A
INTERFACE: Final = 1
ENHANCED_PACKET: Final = 6
BYTE_ORDER: Final = 0x1A2B3C4D
UNKNOWN_LENGTH: Final = b"\xff" * 8
LINKTYPE_RAW: Final = 101
NO_LIMIT: Final = 0
OPT_COMMENT: Final = 1
OPT_FLAGS: Final = 2
OPT_NAME: Final = 2
INBOUND, OUTBOUND = 1, 2
"""Bits 0 and 1 of the flags of a packet."""
LONGEST_OPTION: Final = 65_535

_U32: Final = Struct("<I")
_OPTION: Final = Struct("<HH")
_SECTION: Final = Struct("<IHH")
_INTERFACE: Final = Struct("<HHI")
_PACKET: Final = Struct("<IIIII")


def header(interface: str) -> bytes:
    """The beginning of a file. interface: the name to give to where the packets were."""
    section = _SECTION.pack(BYTE_ORDER, 1, 0) + UNKNOWN_LENGTH
    described = _INTERFACE.pack(LINKTYPE_RAW, 0, NO_LIMIT)
    return _block(SECTION_HEADER, section) + _block(
        INTERFACE, described + _options((OPT_NAME, interface.encode()))
    )


def packet(time: float, data: bytes, length: int, comment: str, *, is_inbound: bool) -> bytes:
    """One packet. time: seconds since 1970. data: its first bytes. length: of all of it."""
    stamp = round(time * 1_000_000)
    head = _PACKET.pack(0, stamp >> 32, stamp & 0xFFFFFFFF, len(data), length)
    text = comment.encode()[:LONGEST_OPTION]
    flags = _U32.pack(INBOUND if is_inbound else OUTBOUND)
    options = _options((OPT_COMMENT, text), (OPT_FLAGS, flags))
    return _block(ENHANCED_PACKET, head + _padded(data) + options)


def _block(kind: int, body: bytes) -> bytes:
    size = _U32.pack(len(body) + 12)
    return _U32.pack(kind) + size + body + size


def _options(*options: tuple[int, bytes]) -> bytes:
    written = b"".join(_OPTION.pack(code, len(value)) + _padded(value) for code, value in options)
    return written + _OPTION.pack(0, 0)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
