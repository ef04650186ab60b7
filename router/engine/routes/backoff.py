"""Back-off for what another program keeps removing: two programs that correct the same thing again
and again would do nothing else.

Always true: what is removed now and then is restored at once; what is removed again as soon as it
is restored is restored after a delay that doubles, until it stays for a while.
"""

from __future__ import annotations

from typing import Final

FIRST: Final = 0.1
"""Seconds to wait after something was restored for the second time in a row."""
LONGEST: Final = 30.0
CALM: Final = 2.0
"""What stays this many times as long as the delay was ends the back-off."""


class Backoff:
    """Of one thing that is restored."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self.wait = 0.0
        """The present delay in seconds."""

    def restored(self, now: float) -> None:
        """It has just been restored."""
        if now - self._last > CALM * max(self.wait, FIRST):
            self.wait = 0.0
        else:
            self.wait = min(max(2 * self.wait, FIRST), LONGEST)
        self._last = now

    def delay(self, now: float) -> float:
        """Seconds until it may be restored again; 0 if it may be now."""
        return max(0.0, self._last + self.wait - now)
