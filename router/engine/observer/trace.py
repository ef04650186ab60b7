"""One trace: its filter, and the records that its client has not taken yet.

Always true: no more than MOST_WAITING records wait, and no more than RATE a second are made after
BURST; what matches beyond that is counted, and costs no more than to be counted.

Must not know: who takes the records.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from router.flows.limiter import TokenBucket
from router.flows.trace.decision import Record
from router.flows.trace.matching import Filter

MOST_WAITING: Final = 512
RATE: Final = 1000
BURST: Final = 500
AT_ONCE: Final = 16
"""Records that are taken together."""


class Trace:
    """wake: called when there is something to take. left_out: how many records were not made;
    has_changed: whether rules or outbounds may have changed. The client's side sets both back."""

    def __init__(self, wanted: Filter, wake: Callable[[], None]) -> None:
        self.wanted = wanted
        self._wake = wake
        self._bucket = TokenBucket(RATE, BURST)
        self._waiting: deque[Record] = deque()
        self.left_out = 0
        self.has_changed = False

    def note_change(self) -> None:
        """Rules or outbounds may have changed."""
        self.has_changed = True
        self._wake()

    def has_room(self, now: float) -> bool:
        """Whether one more record may be made; if not, it is counted as left out."""
        if len(self._waiting) < MOST_WAITING and self._bucket.take(now):
            return True
        self.left_out += 1
        if self.left_out == 1:
            self._wake()
        return False

    def add(self, record: Record) -> None:
        """There is room for it."""
        self._waiting.append(record)
        self._wake()

    def take(self) -> list[Record]:
        """The next records."""
        return [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
