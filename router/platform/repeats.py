"""Warnings that a run repeats, counted instead of logged.

Theory of operation. The same warning may come MOST times in WINDOW seconds; what comes beyond that
is counted, and one event at the end of the window, or of the run, says how often. So a fault that
lasts, of whatever frequency, costs a few lines a minute and is not forgotten.

Always true: errors and what someone has asked for (REPEATED is set) are never held back; of no more
than KEPT different warnings is anything remembered.

Must not know: what is logged, where to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

MOST: Final = 3
WINDOW: Final = 60.0
"""Seconds."""
KEPT: Final = 256

EXCERPT: Final = "excerpt"
REPEATED: Final = "repeated"
"""Attributes of a record: lines of a file that it is about; how often the warning has come, 0 for
one that is not to be counted."""


class _Seen:
    __slots__ = ("began", "record", "times")

    def __init__(self, record: logging.LogRecord, began: float) -> None:
        self.record = record
        self.began = began
        self.times = 0

    @property
    def held_back(self) -> int:
        return max(0, self.times - MOST)


class Repeats(logging.Filter):
    """Of one handler, to which it adds its own events. clock: seconds that never go back."""

    def __init__(self, handler: logging.Handler, clock: Callable[[], float]) -> None:
        super().__init__()
        self._handler = handler
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is to be logged now."""
        if record.levelno != logging.WARNING or hasattr(record, REPEATED):
            return True
        self.report()
        message = record.getMessage()
        seen = self._seen.get(message)
        if seen is None:
            if len(self._seen) >= KEPT:
                return True
            seen = self._seen[message] = _Seen(record, self._clock())
        seen.times += 1
        return not seen.held_back

    def report(self, *, at_the_end: bool = False) -> None:
        """Log the numbers of the windows that are over, or of all."""
        now = self._clock()
        over = [
            message
            for message, seen in self._seen.items()
            if at_the_end or now - seen.began >= WINDOW
        ]
        for message in over:
            seen = self._seen.pop(message)
            if seen.held_back:
                self._handler.handle(_summary(seen, now - seen.began))


def _summary(seen: _Seen, seconds: float) -> logging.LogRecord:
    record = logging.LogRecord(
        *(seen.record.name, logging.WARNING, seen.record.pathname, seen.record.lineno),
        "%d more times in %.0f s: %s",
        (seen.held_back, seconds, seen.record.getMessage()),
        None,
    )
    setattr(record, REPEATED, seen.held_back)
    return record
