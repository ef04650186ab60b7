"""What one source may begin while the router has no time for everybody: a token bucket for each
source, for packets that belong to no flow.

Theory of operation. A packet that begins a flow costs ten times as much as one that is refused, and
some twenty times as much as one that is dropped unread. While the router keeps up with its queue,
every packet is looked at. When the queue has not been empty for BACKLOG seconds the router is busy,
and stays so for CALM seconds, and as long as a source wants more than it may, but RELAPSE at most:
each new attempt costs everybody a full queue. While it is busy, the first AT_ONCE packets of a
source go on at once, the rest of its burst wait until there is time for them, and a source whose
bucket is empty is *held off*: its packets without a flow are dropped, until it has PORTION tokens
again. So the packets of others find a short queue, and what belongs to flows goes on.

Always true: nothing is dropped here unless the router is busy; a decision costs the same, however
many sources there are; at most MOST_SOURCES are known, those that came last.

Must not know: packets, flows. Time is an argument, in seconds. Sources are those of
router.flows.shares.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum, auto
from typing import Final

RATE: Final = 300.0
"""Packets a second that one source may begin flows with, while the router is busy."""
BURST: Final = 1000.0
"""As many in a burst: a resolver that starts, a browser that opens its windows again."""
AT_ONCE: Final = 100.0
"""The first of a burst. Each takes up to half a millisecond, for which others wait."""
PORTION: Final = 15.0
"""A twentieth of a second's, so that a source that is held off is not looked at for each packet."""
BACKLOG: Final = 0.02
CALM: Final = 1.0
RELAPSE: Final = 10.0
"""Seconds after the last backlog; then is tried whether the router keeps up."""
MOST_SOURCES: Final = 4096
NEVER: Final = float("inf")


class Admission(Enum):
    """What becomes of a packet that belongs to no flow."""

    NOW = auto()
    LATER = auto()
    REFUSED = auto()


class Policer:
    """held_off: until when a source is, by source. Read by the code that drops packets unread."""

    def __init__(self) -> None:
        self.held_off: dict[bytes, float] = {}
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()
        self._backlog_since = NEVER
        self._busy_until = self._last_backlog = -NEVER

    def emptied(self) -> None:
        """The queue has been read to its end."""
        self._backlog_since = NEVER

    def not_emptied(self, now: float) -> None:
        """A turn at the queue is over, and there may be more in it."""
        if self._backlog_since == NEVER:
            self._backlog_since = now
        elif now - self._backlog_since > BACKLOG:
            self._last_backlog = now
            self._busy_until = now + CALM

    def admission(self, source: bytes, now: float) -> Admission:
        """Of a packet of this source that belongs to no flow."""
        tokens, at = self._buckets.pop(source, (BURST, now))
        tokens = min(BURST, tokens + (now - at) * RATE)
        in_burst = tokens >= 1
        self._keep(source, tokens - in_burst, now)
        if now >= self._busy_until:
            return Admission.NOW
        if in_burst:
            return Admission.NOW if tokens > BURST - AT_ONCE else Admission.LATER
        self._busy_until = max(self._busy_until, min(now + CALM, self._last_backlog + RELAPSE))
        self.held_off[source] = now + (PORTION - tokens) / RATE
        return Admission.REFUSED

    def is_held_off(self, source: bytes, now: float) -> bool:
        """Whether its packets without a flow are to be dropped unread."""
        until = self.held_off.get(source)
        if until is None:
            return False
        if now < until:
            return True
        del self.held_off[source]
        return False

    def _keep(self, source: bytes, tokens: float, now: float) -> None:
        self._buckets[source] = (tokens, now)
        if len(self._buckets) > MOST_SOURCES:
            oldest, _ = self._buckets.popitem(last=False)
            self.held_off.pop(oldest, None)
