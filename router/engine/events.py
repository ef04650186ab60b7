"""What happens to the router as a whole, for followers: policies that go up or down, reloads, and
conflicts with other programs.

Always true: the last MOST_RECENT events are kept, for followers that begin later.

Must not know: who follows.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from router.config.model import Config
from router.engine.reload.outcome import Outcome
from router.outbound.all import Outbounds
from router.policy.resolve import effective

MOST_RECENT: Final = 256

Take = Callable[[Mapping[str, Any]], None]


class Events:
    """Tells subscribers of each event: `time` (seconds since 1970), `event`, and what belongs to
    it."""

    def __init__(self) -> None:
        self.recent: deque[Mapping[str, Any]] = deque(maxlen=MOST_RECENT)
        self._subscribers: list[Take] = []

    def subscribe(self, take: Take) -> None:
        """Call `take` with each event from now on; it must not raise."""
        self._subscribers.append(take)

    def unsubscribe(self, take: Take) -> None:
        self._subscribers.remove(take)

    def policies(self, config: Config, outbounds: Outbounds, names: Iterable[str]) -> None:
        """Outbounds of these policies have changed."""
        for name in names:
            outbound = outbounds.by_policy[name]
            self._emit(
                "policy",
                policy=name,
                state="up" if outbound.up else "down",
                interface=outbound.leaves_by,
                why=None if outbound.up else outbound.why_down(),
                applies=effective(config, name, outbounds.is_up),
            )

    def reloaded(self, outcome: Outcome) -> None:
        """A reload has ended."""
        self._emit("reload", reloaded=outcome.done, summary=outcome.as_text())

    def conflict(self, what: str) -> None:
        """Another program has changed what is the router's. what: one sentence."""
        self._emit("conflict", what=what)

    def _emit(self, event: str, **members: Any) -> None:
        whole = {"time": round(time.time(), 3), "event": event, **members}
        self.recent.append(whole)
        for take in list(self._subscribers):
            take(whole)
