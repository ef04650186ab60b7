"""Reassembly of fragments (RFC 791 3.2, RFC 815, RFC 8200 4.5, RFC 5722).

Theory of operation. A datagram has a buffer, as long as what has come of it reaches, and a map with
a byte for every BLOCK bytes of that: whether they are there, and whether a fragment begins with
them. A fragment goes to its place, so it costs what it is long, however many came before.

Always true: what is held, counted with the overhead of Python's objects, is at most LIMIT_BYTES;
each source has a share of that (router.flows.shares), and beyond it its own oldest datagram is
dropped; a datagram is dropped when its time is over, when two fragments overlap without being the
same, or when they contradict each other; the result is a whole packet as its sender would have sent
it on a link with a sufficient MTU; every operation on a packet costs the logarithm of what is held,
or less.

Must not know: clocks. Time is an argument, in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from struct import pack_into
from typing import Final

from router.flows.drops import Drop
from router.flows.expiry import EVERY
from router.flows.shares import Shares, source_of
from router.flows.shrinking import shrink
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
LIMIT_BYTES: Final = 16 << 20
FEW_BYTES: Final = 128 << 10
"""What any source may hold while there is room: a datagram of any size."""
OVERHEAD: Final = 1600
"""Bytes of a datagram apart from what has come of it: its objects, keys and entries in tables, as
tracemalloc counts them on CPython 3.11."""
BLOCK: Final = 8
"""All fragments but the last are multiples of that (RFC 791, RFC 8200)."""
ABSENT, FIRST, REST = b"\0", b"\1", b"\2"
MAX_DATAGRAM: Final = 65535

Key = tuple[bytes, bytes, int, bytes]


class _Datagram:
    """Fragments of one datagram.

    first: the one at its beginning. length: of the whole, by its last fragment. size: of what has
    come. held: the bytes that it is counted with.
    """

    __slots__ = ("body", "deadline", "first", "held", "length", "map", "size")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.first: ip.Packet | None = None
        self.length: int | None = None
        self.body = bytearray()
        self.map = bytearray()
        self.size = 0
        self.held = 0

    def is_whole(self) -> bool:
        """Parts never overlap, so they are whole when their sizes add up."""
        return self.first is not None and self.size == self.length

    @property
    def counted(self) -> int:
        """The bytes that it takes at present."""
        first = 0 if self.first is None else len(self.first.data)
        return OVERHEAD + self.body.__sizeof__() + self.map.__sizeof__() + first

    def add(self, fragment: ip.Packet) -> bool:
        """Keep a fragment; False when it contradicts the others."""
        offset, body = fragment.fragment_offset, fragment.body
        end = offset + len(body)
        if self._has(offset, end, body):
            return True
        if self._overlaps(offset, end) or not self._fits(fragment, end):
            return False
        if not fragment.more_fragments:
            self.length = end
        if offset == 0:
            self.first = fragment
        self._reach(end)
        self.body[offset:end] = body
        blocks = _blocks(end - offset)
        self.map[offset // BLOCK : offset // BLOCK + blocks] = FIRST + REST * (blocks - 1)
        self.size += len(body)
        return True

    def _has(self, offset: int, end: int, body: memoryview) -> bool:
        """Whether the same fragment is there already."""
        at, behind = offset // BLOCK, _blocks(end)
        if not offset < end <= len(self.body) or self.map[at : at + 1] != FIRST:
            return False
        rest = REST * (behind - at - 1)
        ends_there = self.map[behind : behind + 1] != REST
        return ends_there and self.map[at + 1 : behind] == rest and self.body[offset:end] == body

    def _overlaps(self, offset: int, end: int) -> bool:
        return bool(self.map[offset // BLOCK : _blocks(end)].strip(ABSENT))

    def _fits(self, fragment: ip.Packet, end: int) -> bool:
        """All but the last are multiples of 8 bytes, nothing lies behind the last, there is one
        last, and the whole is a packet."""
        if end > MAX_DATAGRAM or end == fragment.fragment_offset:
            return False
        if fragment.more_fragments:
            return end % BLOCK == 0 and (self.length is None or end <= self.length)
        return self.length is None and end >= len(self.body)

    def _reach(self, end: int) -> None:
        """Make room up to `end`."""
        self.body.extend(bytes(max(0, end - len(self.body))))
        self.map.extend(bytes(max(0, _blocks(end) - len(self.map))))


def _blocks(size: int) -> int:
    return -(-size // BLOCK)


class Reassembler:
    """The datagrams of which fragments are missing.

    limit: the bytes that are held at most.
    """

    def __init__(self, limit: int = LIMIT_BYTES) -> None:
        self._limit = limit
        self._shares = Shares(FEW_BYTES)
        self._waiting: dict[int, OrderedDict[Key, _Datagram]] = {
            version: OrderedDict() for version in TIMEOUT
        }
        self._by_source: dict[bytes, OrderedDict[Key, None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    @property
    def held(self) -> int:
        """Bytes, the overhead included."""
        return self._shares.total

    def add(self, fragment: ip.Packet, now: float) -> ip.Packet | Drop | None:
        """The whole packet if `fragment` was the last one missing; a reason if a datagram was
        dropped for it; else None."""
        key = _key(fragment)
        datagram = self._waiting[fragment.version].get(key) or self._begin(key, fragment, now)
        if not datagram.add(fragment):
            self._forget(key)
            return Drop.FRAGMENT
        if datagram.is_whole():
            self._forget(key)
            return _whole(datagram)
        return self._count(key, datagram)

    def expire(self, now: float, most: int = EVERY) -> Iterator[ip.Packet | None]:
        """Drop the datagrams whose time is over, `most` of each family: of each its first fragment,
        which an error may quote, or None if that has not arrived."""
        for waiting in self._waiting.values():
            for _ in range(min(most, len(waiting))):
                key, datagram = next(iter(waiting.items()))
                if datagram.deadline > now:
                    break
                self._forget(key)
                yield datagram.first

    def has_due(self, now: float) -> bool:
        """Whether `expire` has more to drop."""
        oldest = (next(iter(each.values())) for each in self._waiting.values() if each)
        return any(datagram.deadline <= now for datagram in oldest)

    def shrink(self) -> None:
        """Give back the room that far more of them needed once."""
        shrink(*self._waiting.values(), self._by_source)
        self._shares.shrink()

    def _begin(self, key: Key, fragment: ip.Packet, now: float) -> _Datagram:
        datagram = _Datagram(now + TIMEOUT[fragment.version])
        self._waiting[fragment.version][key] = datagram
        self._by_source.setdefault(source_of(fragment.source), OrderedDict())[key] = None
        return datagram

    def _count(self, key: Key, datagram: _Datagram) -> Drop | None:
        """Count what it has grown by, and drop datagrams of its source until there is room for
        that: as many as the growth has OVERHEADs, at most."""
        source, dropped = key[0], None
        growth = datagram.counted - datagram.held
        while not self._shares.admits(source, self._limit - self._shares.total, growth):
            oldest = next(iter(self._by_source[source_of(source)]))
            self._forget(oldest)
            dropped = Drop.FRAGMENT
            if oldest == key:
                return dropped
        self._shares.take(source, growth)
        datagram.held += growth
        return dropped

    def _forget(self, key: Key) -> None:
        datagram = self._waiting[4 if len(key[0]) == 4 else 6].pop(key)
        source = source_of(key[0])
        del self._by_source[source][key]
        if not self._by_source[source]:
            del self._by_source[source]
        if datagram.held:
            self._shares.give_back(source, datagram.held)


def _key(fragment: ip.Packet) -> Key:
    """In IPv4 the protocol is part of it (RFC 791); in IPv6 the identification has 32 bits."""
    source, destination, data = fragment.source, fragment.destination, fragment.data
    if fragment.version == 4:
        identification = data[V4_IDENTIFICATION : V4_IDENTIFICATION + 2]
        return source, destination, fragment.protocol, identification
    return source, destination, ip.FRAGMENT, data[fragment.payload - 4 : fragment.payload]


def _whole(datagram: _Datagram) -> ip.Packet | Drop:
    assert datagram.first is not None
    first, body = datagram.first, bytes(datagram.body)
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
