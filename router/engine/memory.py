"""Memory that is not needed any more, after a flood say, is given back to the system.

Theory of operation. Objects are freed when what they stand for has ended. Two things stay: the room
of tables, and what the allocator of C keeps between what is still in use. When far less is held
than at most since the last time, both are given back; this costs what is held, and no more often
than every INTERVAL seconds.

Must not know: what is held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

MUCH: Final = 500
"""Held flows, 1 MB or so: not worth it below."""
PART: Final = 4
INTERVAL: Final = 5.0
"""Seconds."""


class SpareMemory:
    """held: how many flows are. shrink: gives back the room of tables; give_back: what the
    allocator keeps."""

    def __init__(
        self,
        held: Callable[[], int],
        shrink: Callable[[], None],
        give_back: Callable[[], None],
    ) -> None:
        self._held = held
        self._shrink = shrink
        self._give_back = give_back
        self._most = 0
        self._next = float("-inf")

    def look(self, now: float) -> None:
        """Call it about every second."""
        held = self._held()
        self._most = max(self._most, held)
        if self._most >= MUCH and held * PART <= self._most and now >= self._next:
            self._most = held
            self._next = now + INTERVAL
            self._shrink()
            self._give_back()
