"""How often the guard starts a program for the router.

The guard holds a router that was taken over to it; one that was not keeps to it by itself, and so
is never refused: what comes too early waits.

Must not know: which programs there are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from router.flows.limiter import TokenBucket

STARTS_PER_SECOND: Final = 2
START_BURST: Final = 20
"""What the guard allows of each program."""
OWN_BURST: Final = START_BURST // 2
"""The guard's clock may have seen the starts before closer together than the router's."""


class Timers(Protocol):
    """The part of the event loop that is needed here; see router.engine.loop."""

    now: float

    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...


class PacedStarts:
    """Those of one program."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._bucket = TokenBucket(STARTS_PER_SECOND, OWN_BURST)

    def when_allowed(self, start: Callable[[], None]) -> None:
        """Call it at once, or when the guard allows another start."""
        now = self._timers.now
        if self._bucket.take(now):
            start()
        else:
            delay = self._bucket.delay(now)
            self._timers.call_later(delay, lambda: self.when_allowed(start))
