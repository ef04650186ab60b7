"""Reassembly of fragments (RFC 791 3.2, RFC 815, RFC 8200 4.5, RFC 5722).

Always true: memory is bounded by LIMIT_BYTES and LIMIT_DATAGRAMS, beyond which the oldest datagram
is dropped; a datagram is dropped when its time is over, when two fragments overlap without being
the same, or when they contradict each other; the result is a whole packet as its sender would have
sent it on a link with a sufficient MTU.

Must not know: clocks. Time is an argument, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import pack_into
from typing import Final

from router.flows.drops import Drop
from router.wire import ip
from router.wire.fragments import FRAGMENT_HEADER
from router.wire.headers import (
    V4_FRAGMENT,
    V4_IDENTIFICATION,
    V4_TOTAL_LENGTH,
    V6_PAYLOAD_LENGTH,
    fill_in_v4_checksum,
)

TIMEOUT: Final = {4: 30.0, 6: 60.0}
"""Seconds, as Linux has it for IPv4 (net.ipv4.ipfrag_time) and RFC 8200 4.5 for IPv6."""
LIMIT_DATAGRAMS: Final = 256
LIMIT_BYTES: Final = 8 << 20
MAX_DATAGRAM: Final = 65535

Key = tuple[bytes, bytes, int, bytes]


class _Datagram:
    """Fragments of one datagram: bodies by offset. length: of the whole, by its last fragment."""

    __slots__ = ("deadline", "first", "length", "parts", "size")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.first: ip.Packet | None = None
        self.length: int | None = None
        self.parts: dict[int, bytes] = {}
        self.size = 0

    def is_whole(self) -> bool:
        """Parts never overlap, so they are whole when their sizes add up."""
        return self.first is not None and self.size == self.length

    def add(self, fragment: ip.Packet) -> bool:
        """Keep a fragment; False when it contradicts the others."""
        offset, body = fragment.fragment_offset, bytes(fragment.body)
        end = offset + len(body)
        if offset in self.parts and self.parts[offset] == body:
            return True
        if self._overlaps(offset, end) or not self._fits(fragment, end):
            return False
        if not fragment.more_fragments:
            self.length = end
        if offset == 0:
            self.first = fragment
        self.parts[offset] = body
        self.size += len(body)
        return True

    def _overlaps(self, offset: int, end: int) -> bool:
        return any(offset < start + len(part) and start < end for start, part in self.parts.items())

    def _fits(self, fragment: ip.Packet, end: int) -> bool:
        """All but the last are multiples of 8 bytes, nothing lies behind the last, there is one
        last, and the whole is a packet."""
        if end > MAX_DATAGRAM or end == fragment.fragment_offset:
            return False
        if fragment.more_fragments:
            return end % 8 == 0 and (self.length is None or end <= self.length)
        reach = max((start + len(part) for start, part in self.parts.items()), default=0)
        return self.length is None and end >= reach

    def joined(self) -> bytes:
        return b"".join(self.parts[offset] for offset in sorted(self.parts))


class Reassembler:
    """The datagrams of which fragments are missing."""

    def __init__(self) -> None:
        self._waiting: dict[Key, _Datagram] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, fragment: ip.Packet, now: float) -> ip.Packet | Drop | None:
        """The whole packet if `fragment` was the last one missing; a reason if a datagram was
        dropped for it; else None."""
        key = _key(fragment)
        datagram = self._waiting.get(key)
        if datagram is None:
            datagram = self._waiting[key] = _Datagram(now + TIMEOUT[fragment.version])
        before = datagram.size
        if not datagram.add(fragment):
            self._forget(key)
            return Drop.FRAGMENT
        self._bytes += datagram.size - before
        if datagram.is_whole():
            self._forget(key)
            return _whole(datagram)
        return self._make_room()

    def expire(self, now: float) -> Iterator[ip.Packet | None]:
        """Drop the datagrams whose time is over: of each its first fragment, which an error may
        quote, or None if that has not arrived."""
        over = [key for key, datagram in self._waiting.items() if datagram.deadline <= now]
        for key in over:
            yield self._forget(key).first

    def _make_room(self) -> Drop | None:
        if len(self._waiting) <= LIMIT_DATAGRAMS and self._bytes <= LIMIT_BYTES:
            return None
        self._forget(next(iter(self._waiting)))
        return Drop.FRAGMENT

    def _forget(self, key: Key) -> _Datagram:
        datagram = self._waiting.pop(key)
        self._bytes -= datagram.size
        return datagram


def _key(fragment: ip.Packet) -> Key:
    """In IPv4 the protocol is part of it (RFC 791); in IPv6 the identification has 32 bits."""
    source, destination, data = fragment.source, fragment.destination, fragment.data
    if fragment.version == 4:
        identification = data[V4_IDENTIFICATION : V4_IDENTIFICATION + 2]
        return source, destination, fragment.protocol, identification
    return source, destination, ip.FRAGMENT, data[fragment.payload - 4 : fragment.payload]


def _whole(datagram: _Datagram) -> ip.Packet | Drop:
    assert datagram.first is not None
    first, body = datagram.first, datagram.joined()
    if _too_long(first, len(body)):
        return Drop.FRAGMENT
    data = _whole_v4(first, body) if first.version == 4 else _whole_v6(first, body)
    try:
        packet = ip.parse(data)
    except ip.Malformed:
        return Drop.FRAGMENT
    packet.reassembled = True
    return packet


def _too_long(first: ip.Packet, length: int) -> bool:
    """Whether no length field could hold it; that of IPv6 does not count the fixed header."""
    if first.version == 4:
        return first.payload + length > MAX_DATAGRAM
    return first.payload - FRAGMENT_HEADER - ip.IPV6_HEADER + length > MAX_DATAGRAM


def _whole_v4(first: ip.Packet, body: bytes) -> bytes:
    header = bytearray(first.data[: first.payload])
    pack_into("!H", header, V4_TOTAL_LENGTH, len(header) + len(body))
    pack_into("!H", header, V4_FRAGMENT, 0)
    fill_in_v4_checksum(header, 0, len(header))
    return bytes(header) + body


def _whole_v6(first: ip.Packet, body: bytes) -> bytes:
    """Without the fragment header; the header before it names the protocol that it named."""
    fragment_header = first.payload - FRAGMENT_HEADER
    unfragmentable = bytearray(first.data[:fragment_header])
    unfragmentable[ip.names_fragment_header(first)] = first.data[fragment_header]
    length = len(unfragmentable) - ip.IPV6_HEADER + len(body)
    pack_into("!H", unfragmentable, V6_PAYLOAD_LENGTH, length)
    return bytes(unfragmentable) + body
