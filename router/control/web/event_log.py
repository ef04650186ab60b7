"""The last events, each with a number, so that a reader can ask for what is new.

Always true: at most MOST are kept. That the router has gone or come is an event as well.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import islice
from typing import Any, Final, Protocol

from router.control.client import NoAnswerError

MOST: Final = 500
RETRY: Final = 1.0
"""Seconds between two attempts to reach the router."""


class HasEvents(Protocol):
    """See Answers."""

    def events(self, reached: Callable[[], None]) -> AsyncIterator[dict[str, Any]]: ...


class EventLog:
    """clock: seconds since 1970."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.last = 0
        """The number of the latest event; the first has 1."""
        self._clock = clock
        self._events: deque[Mapping[str, Any]] = deque(maxlen=MOST)
        self._is_gone = False
        self._latest = 0.0

    def add(self, event: Mapping[str, Any]) -> None:
        self.last += 1
        self._events.append({"id": self.last, **event})

    def after(self, number: int) -> list[Mapping[str, Any]]:
        """Those behind an event, as far as they are kept."""
        unread = min(max(0, self.last - number), len(self._events))
        return list(islice(self._events, len(self._events) - unread, None))

    async def follow(self, answers: HasEvents) -> None:
        """For ever: what the router reports, and again once it is back."""
        while True:
            try:
                async for event in answers.events(self._came):
                    self._take(event)
            except NoAnswerError as error:
                self._went(str(error))
            else:
                self._went("the router has ended")
            await asyncio.sleep(RETRY)

    def _take(self, event: Mapping[str, Any]) -> None:
        """The router repeats what it still knows to each new connection."""
        if event.get("time", self._latest + 1) > self._latest:
            self._latest = event.get("time", self._latest)
            self.add(event)

    def _came(self) -> None:
        if self._is_gone:
            self._is_gone = False
            self.add({"time": round(self._clock(), 3), "event": "router", "state": "running"})

    def _went(self, why: str) -> None:
        if not self._is_gone:
            self._is_gone = True
            members = {"event": "router", "state": "gone", "why": why}
            self.add({"time": round(self._clock(), 3), **members})
