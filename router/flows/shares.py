"""Fair shares of a table: how much of it one source may hold.

Theory of operation. A source is a host as the router tells hosts apart: an IPv4 address, or the /64
of an IPv6 address, all of which one host may use. This machine's own addresses are sources like any
other. A source may hold `few`, and of the reserve no source may hold more. One that holds more may
hold FACTOR times what would be free beyond the reserve (dynamic thresholds, as switches share their
buffers: Choudhury and Hahne, IEEE/ACM ToN 6(2), 1998). So its share shrinks as the table fills, and
n greedy sources get FACTOR / (FACTOR * n + 1) of what is not reserved, each:

    greedy sources      1       2       3       10
    share of each       0.66    0.38    0.26    0.08
    free for others     0.34    0.25    0.21    0.15

What is unanswered is what floods consist of. From half of the table on (`is_crowded`) it
has a short life, until the table is nearly empty again: else a flood would leave half a table
behind. A table of no more than `few` is for anybody.

Always true: what is admitted is never taken back for another source; every operation costs the
same, however much is held; a source that holds nothing costs no memory.

Must not know: what is held. Amounts are flows, or bytes.
"""

from __future__ import annotations

from typing import Final

from router.flows.shrinking import shrink

FEW: Final = 128
"""Flows that any source may hold while there is room: more than a person's programs have at a
time with one protocol."""
FACTOR: Final = 3
RESERVED: Final = 8
"""One part of so many is for sources that hold little."""
LITTLE: Final = 8
"""Nor may such a source hold more than one part of so many of what is free."""
EMPTY_AGAIN: Final = 16
"""A table is crowded no longer when it holds less than one part of so many."""


class Shares:
    """Of one table.

    few: the amount that any source may hold while there is room.
    total: what all sources hold.
    is_crowded: whether what is unanswered has a short life.
    """

    __slots__ = ("_few", "_held", "_limit", "is_crowded", "total")

    def __init__(self, few: int = FEW) -> None:
        self.total = 0
        self.is_crowded = False
        self._few = few
        self._limit = 0
        self._held: dict[bytes, int] = {}

    def held_by(self, address: bytes) -> int:
        """What the source of an address holds."""
        return self._held.get(source_of(address), 0)

    def holds_many(self, address: bytes) -> bool:
        """Whether the source of an address holds more than any source may."""
        return self.held_by(address) > self._few

    def admits(self, address: bytes, free: int, amount: int = 1) -> bool:
        """Whether the source of an address may hold so much more. free: what is not held, and can
        be had at present."""
        limit = self._limit = self.total + free
        if amount > free or limit <= self._few:
            return amount <= free
        if self.total >= free:
            self.is_crowded = True
        held = self._held.get(source_of(address), 0) + amount
        share = FACTOR * (free - limit // RESERVED)
        return held <= share or held <= min(self._few, -(-free // LITTLE))

    def take(self, address: bytes, amount: int = 1) -> None:
        """It holds so much more."""
        source = source_of(address)
        self._held[source] = self._held.get(source, 0) + amount
        self.total += amount

    def shrink(self) -> None:
        """Give back the room of sources that hold nothing any more."""
        shrink(self._held)

    def give_back(self, address: bytes, amount: int = 1) -> None:
        """It holds so much less."""
        source = source_of(address)
        left = self._held[source] - amount
        if left:
            self._held[source] = left
        else:
            del self._held[source]
        self.total -= amount
        if self.is_crowded and self.total * EMPTY_AGAIN <= self._limit:
            self.is_crowded = False


def source_of(address: bytes) -> bytes:
    """The host that has an address of 4 or 16 bytes: an IPv6 host chooses the lower half itself
    (RFC 4291 2.5.1)."""
    return address[:8]
