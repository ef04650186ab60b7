"""Cutting a packet into fragments (RFC 791 3.2; RFC 8200 4.5)."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct, pack
from typing import Final

from router.wire import ip
from router.wire.headers import (
    V4_TOTAL_LENGTH,
    V6_NEXT_HEADER,
    V6_PAYLOAD_LENGTH,
    fill_in_v4_checksum,
)

FRAGMENT_HEADER: Final = 8
COPIED: Final = 0x80
END_OF_OPTIONS: Final = 0
NO_OPERATION: Final = 1
_LENGTH_TO_FRAGMENT: Final = Struct("!HHH")
"""Total length, identification, and flags with fragment offset: one behind the other in IPv4."""


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
    _, own_identification, _ = _LENGTH_TO_FRAGMENT.unpack_from(packet, V4_TOTAL_LENGTH)
    identification = own_identification or identification
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
    length = len(header) + len(part)
    _LENGTH_TO_FRAGMENT.pack_into(whole, V4_TOTAL_LENGTH, length, identification, field)
    fill_in_v4_checksum(whole, 0, len(whole))
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
            header[:V6_PAYLOAD_LENGTH]
            + pack("!HB", FRAGMENT_HEADER + len(part), ip.FRAGMENT)
            + header[V6_NEXT_HEADER + 1 :]
            + pack("!BBHI", header[V6_NEXT_HEADER], 0, offset | more, identification)
            + part
        )
