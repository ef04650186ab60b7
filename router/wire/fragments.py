"""Cutting a packet into fragments (RFC 791 3.2; RFC 8200 4.5)."""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack
from typing import Final

from router.wire import ip
from router.wire.checksum import checksum

FRAGMENT_HEADER: Final = 8
COPIED: Final = 0x80
END_OF_OPTIONS: Final = 0
NO_OPERATION: Final = 1


def split(packet: bytes | bytearray, mtu: int, identification: int = 0) -> Iterator[bytes]:
    """The fragments of a whole packet, none longer than `mtu`, in order.

    identification: of the fragments, where the packet has none itself (IPv6, or IPv4 with zero).
    A packet that may not be fragmented is, all the same: whether it may is the caller's question.
    IPv6 packets are given the fragment header behind their fixed header.
    """
    if packet[0] >> 4 == 4:
        return _split_v4(packet, mtu, identification)
    return _split_v6(packet, mtu, identification)


def _split_v4(packet: bytes | bytearray, mtu: int, identification: int) -> Iterator[bytes]:
    length = (packet[0] & 0x0F) << 2
    first = bytes(packet[:length])
    later = _header_of_later(first)
    identification = int.from_bytes(packet[4:6], "big") or identification
    body = memoryview(packet)[length:]
    offset = 0
    while offset < len(body):
        header = later if offset else first
        room = (mtu - len(header)) & ~7
        more = len(body) - offset > room
        part = body[offset : offset + room]
        yield _finished_v4(header, part, identification, offset >> 3 | more * ip.MORE_FRAGMENTS)
        offset += room


def _finished_v4(header: bytes, part: memoryview, identification: int, field: int) -> bytes:
    whole = bytearray(header)
    whole[2:8] = pack("!HHH", len(header) + len(part), identification, field)
    whole[10:12] = b"\0\0"
    whole[10:12] = checksum(whole).to_bytes(2, "big")
    return bytes(whole) + part


def _header_of_later(header: bytes) -> bytes:
    """The header of all fragments but the first: only options with the copied flag stay."""
    if len(header) == ip.IPV4_HEADER:
        return header
    options = b"".join(_copied_options(header[ip.IPV4_HEADER :]))
    options += bytes(-len(options) % 4)
    words = (ip.IPV4_HEADER + len(options)) >> 2
    return bytes((0x40 | words,)) + header[1 : ip.IPV4_HEADER] + options


def _copied_options(options: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(options) and options[at] != END_OF_OPTIONS:
        if options[at] == NO_OPERATION:
            at += 1
            continue
        size = options[at + 1] if at + 1 < len(options) else 0
        if size < 2:
            return
        if options[at] & COPIED:
            yield options[at : at + size]
        at += size


def _split_v6(packet: bytes | bytearray, mtu: int, identification: int) -> Iterator[bytes]:
    header, body = bytes(packet[: ip.IPV6_HEADER]), memoryview(packet)[ip.IPV6_HEADER :]
    room = (mtu - ip.IPV6_HEADER - FRAGMENT_HEADER) & ~7
    for offset in range(0, len(body), room):
        part = body[offset : offset + room]
        more = len(body) - offset > room
        yield (
            header[:4]
            + pack("!HB", FRAGMENT_HEADER + len(part), ip.FRAGMENT)
            + header[7:]
            + pack("!BBHI", header[6], 0, offset | more, identification)
            + part
        )
