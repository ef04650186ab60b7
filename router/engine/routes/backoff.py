"""Not to quarrel: two programs that put the same thing right again and again would do nothing else.

Always true: what is taken away now and then is put back at once; what is taken away again as soon
as it is back is put back ever more seldom, until it is left alone for a while.
"""

from __future__ import annotations

from typing import Final

FIRST: Final = 0.1
"""Seconds to wait after something was put back for the second time in a row."""
LONGEST: Final = 30.0
CALM: Final = 2.0
"""What stays this many times as long as was waited for it is left alone again."""


class Backoff:
    """For one thing that is put back."""

    def __init__(self) -> None:
        self._last = float("-inf")
        self.wait = 0.0
        """Seconds that are waited between one time and the next at present."""

    def restored(self, now: float) -> None:
        """It has just been."""
        if now - self._last > CALM * max(self.wait, FIRST):
            self.wait = 0.0
        else:
            self.wait = min(max(2 * self.wait, FIRST), LONGEST)
        self._last = now

    def delay(self, now: float) -> float:
        """Seconds until it may be put back again; 0 if it may be now."""
        return max(0.0, self._last + self.wait - now)
