"""What a client gets that follows: lines without end, made when it has taken those before.

A feed is a generator of bytes; None stands for nothing at present, and `wake` is called when there
may be something again. What is closed releases what it has.

Always true: an answer at an interval is made when it is due and only if the follower has taken the
one before; of events MOST_WAITING are kept. A slow follower gets in place of what it has missed a
line that says how many lines that were, and others are not affected.

Must not know: what the lines say.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Generator, Iterable, Mapping
from typing import Any, Final, Protocol

from router.control.protocol import lost

MOST_WAITING: Final = 256
SHORTEST: Final = 0.1
LONGEST: Final = 3600.0
"""Seconds between two answers."""

Feed = Generator[bytes | None, None, None]
Wake = Callable[[], None]


class Timers(Protocol):
    """The part of the event loop that is needed here; see router.engine.loop."""

    now: float

    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...


class Events(Protocol):
    """See router.engine.events."""

    def subscribe(self, take: Callable[[Mapping[str, Any]], None]) -> None: ...

    def unsubscribe(self, take: Callable[[Mapping[str, Any]], None]) -> None: ...


def bad_interval(interval: object) -> str | None:
    """Why an `interval_s` cannot be had; None if it can."""
    is_number = isinstance(interval, int | float) and not isinstance(interval, bool)
    if is_number and SHORTEST <= float(str(interval)) <= LONGEST:
        return None
    shown = json.dumps(interval)
    return f"interval_s cannot be {shown}: it is seconds, from {SHORTEST:g} to {LONGEST:g}"


def at_interval(
    make: Callable[[], Iterable[bytes]], interval: float, timers: Timers, wake: Wake
) -> Feed:
    """An answer at once, and another one every `interval` seconds. make: the pieces of a line."""
    due = timers.now
    while True:
        while timers.now < due:
            timers.call_later(due - timers.now, wake)
            yield None
        missed = int((timers.now - due) / interval)
        due += (1 + missed) * interval
        if missed:
            yield lost(missed)
        yield from make()


def of_events(events: Events, wake: Wake, recent: Iterable[Mapping[str, Any]] = ()) -> Feed:
    """A line for each event from now on, after those of `recent`, MOST_WAITING at most."""
    waiting = deque((_line(event) for event in recent), maxlen=MOST_WAITING)
    missed = 0

    def take(event: Mapping[str, Any]) -> None:
        nonlocal missed
        if missed and len(waiting) < MOST_WAITING:
            waiting.append(lost(missed))
            missed = 0
        if len(waiting) < MOST_WAITING:
            waiting.append(_line(event))
        else:
            missed += 1
        wake()

    events.subscribe(take)
    try:
        while True:
            if waiting:
                yield waiting.popleft()
            elif missed:
                number, missed = missed, 0
                yield lost(number)
            else:
                yield None
    finally:
        events.unsubscribe(take)


def _line(event: Mapping[str, Any]) -> bytes:
    return json.dumps(event).encode() + b"\n"
