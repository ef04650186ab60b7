"""What expires when: one queue by time, for the flows of every protocol.

A packet only notes the time in its flow; no packet touches the queue. An item is examined at the
earliest time at which it can have expired, seen from the examination before, and put back if it
has been used meanwhile.

Theory of operation. The entries are a heap. Those of items that have left stay until there are as
many of them as of others, and SLACK; then the heap becomes the former one, each operation looks at
PORTION entries of it, and those of items that are in the queue move to a new heap.

Always true: an operation costs the logarithm of what is held; an item that has left the queue holds
no memory for long.

Must not know: clocks. Time is an argument, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from itertools import count
from sys import maxsize
from typing import Final, Generic, Protocol, TypeVar

NEVER: Final = float("inf")
SLACK: Final = 64
"""Entries of items that have left, kept whatever else is held."""
PORTION: Final = 4
"""Former entries that an operation looks at: more than it can add."""
EVERY: Final = maxsize


class Expiring(Protocol):
    """An item of a queue. due: when it is examined next; only the queue sets it, and NEVER stands
    for an item that is not in a queue, as a new one is."""

    due: float

    def expires(self, now: float, /) -> float:
        """A time not after `now` if it has expired; else the earliest at which it can expire,
        whatever is sent and received until then. Finite."""


ItemT = TypeVar("ItemT", bound=Expiring)


_Entry = tuple[float, int, ItemT]


class ExpiryQueue(Generic[ItemT]):
    """Items by the time at which they are to be examined."""

    def __init__(self) -> None:
        self._heap: list[_Entry[ItemT]] = []
        self._former: list[_Entry[ItemT]] = []
        self._order = count()
        self._held = 0

    def __len__(self) -> int:
        """The items in it."""
        return self._held

    def schedule(self, item: ItemT, now: float) -> None:
        """Examine an item when it can have expired, if it is not examined before that anyway."""
        at = item.expires(now)
        if at >= item.due:
            return
        self._held += item.due == NEVER
        item.due = at
        heappush(self._heap, (at, next(self._order), item))
        self._tidy()

    def cancel(self, item: ItemT) -> None:
        """Take out an item that ends for another reason; one that is not in the queue stays so."""
        self._held -= item.due != NEVER
        item.due = NEVER
        self._tidy()

    def has_due(self, now: float) -> bool:
        """Whether an entry is due at a time."""
        return any(heap and heap[0][0] <= now for heap in (self._heap, self._former))

    def expired(self, now: float, most: int = EVERY) -> Iterator[ItemT]:
        """Take out the items that have expired; `most` entries are looked at."""
        for _ in range(most):
            heap = self._first()
            if not heap or heap[0][0] > now:
                return
            due, order, item = heappop(heap)
            if item.due != due:
                continue  # it has left, or was scheduled for an earlier time meanwhile
            at = item.expires(now)
            if at <= now:
                self.cancel(item)
                yield item
            else:
                item.due = at
                heappush(self._heap, (at, order, item))

    def _first(self) -> list[_Entry[ItemT]]:
        """The heap with the entry that is due first."""
        heap, former = self._heap, self._former
        return former if former and (not heap or former[0] < heap[0]) else heap

    def _tidy(self) -> None:
        """Look at some former entries; the last of a heap leaves a heap behind."""
        former = self._former
        for _ in range(min(PORTION, len(former))):
            entry = former.pop()
            if entry[2].due == entry[0]:
                heappush(self._heap, entry)
        if not former and len(self._heap) > 2 * self._held + SLACK:
            self._heap, self._former = [], self._heap
