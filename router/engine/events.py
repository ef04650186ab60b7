"""What happens to the router as a whole, for whoever follows it: policies that go up or down, and
reloads.

Must not know: who follows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from router.config.model import Config
from router.engine.reload.outcome import Outcome
from router.outbound.all import Outbounds
from router.policy.resolve import effective

Take = Callable[[Mapping[str, Any]], None]


class Events:
    """Tells subscribers of each event: `time` (seconds since 1970), `event`, and what belongs to
    it."""

    def __init__(self) -> None:
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

    def _emit(self, event: str, **members: Any) -> None:
        for take in list(self._subscribers):
            take({"time": round(time.time(), 3), "event": event, **members})
