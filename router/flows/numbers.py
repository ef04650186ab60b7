"""Numbers of a fixed range that are in use, and the next one that is free.

Always true: the number that is taken is the one that was given back the longest time ago, so that
what still refers to it from before finds as little as possible; taking and giving back cost the
same, however many are in use.

Must not know: what the numbers are for.
"""

from __future__ import annotations

from array import array
from typing import Final

NONE_LEFT: Final = -1


class NumberQueue:
    """0 to `count` - 1, in turn. Costs 4 bytes a number."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._never_used = 0
        self._given_back = array("I", bytes(4 * count))
        self._first = self._waiting = 0

    def take(self) -> int:
        """The next one; NONE_LEFT if all are in use."""
        if self._never_used < self._count:
            self._never_used += 1
            return self._never_used - 1
        if not self._waiting:
            return NONE_LEFT
        number = self._given_back[self._first]
        self._first = (self._first + 1) % self._count
        self._waiting -= 1
        return number

    def give_back(self, number: int) -> None:
        """One that has been taken."""
        self._given_back[(self._first + self._waiting) % self._count] = number
        self._waiting += 1


class NumberList:
    """0 to `count` - 1, of which one that is free can also be set aside by name.

    first: the number that is taken first. Costs 8 bytes a number: a doubly linked list, whose end
    is the entry `count`.
    """

    def __init__(self, count: int, first: int = 0) -> None:
        self._end = count
        numbers = array("I", range(count + 1))
        self._next = numbers[1:] + numbers[:1]
        self._before = numbers[-1:] + numbers[:-1]
        self._is_free = bytearray(b"\1" * count)
        self._rotate(first)

    def is_free(self, number: int) -> bool:
        return bool(self._is_free[number])

    def take(self) -> int:
        """The next one; NONE_LEFT if there is none."""
        number: int = self._next[self._end]
        if number == self._end:
            return NONE_LEFT
        self.set_aside(number)
        return number

    def set_aside(self, number: int) -> None:
        """Take one that is free."""
        before, behind = self._before[number], self._next[number]
        self._next[before] = behind
        self._before[behind] = before
        self._is_free[number] = 0

    def give_back(self, number: int) -> None:
        """One that is not free."""
        last = self._before[self._end]
        self._next[last] = self._before[self._end] = number
        self._before[number] = last
        self._next[number] = self._end
        self._is_free[number] = 1

    def _rotate(self, first: int) -> None:
        """Let all numbers from `first` on come before the others."""
        if not first:
            return
        end, last = self._end, self._end - 1
        self._next[last], self._before[0] = 0, last
        self._next[first - 1], self._before[end] = end, first - 1
        self._next[end], self._before[first] = first, end
