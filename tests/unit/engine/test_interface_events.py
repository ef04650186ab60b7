"""What follows a notification when the system cannot say what has changed."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from router.engine.interface_events import RETRY, InterfaceEvents
from router.platform.base.facts import ForeignRoute, Reported

OURS = ForeignRoute(4, 198 << 24, 24, 3)
AMONG_OURS = ForeignRoute(4, 198 << 24, 32, 3)
ELSEWHERE = ForeignRoute(4, 10 << 24, 8, 3)


class Loop:
    """Timers that a test lets pass; watchers in their order."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.watched: list[Callable[[], None]] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.timers.append((delay, callback))

    def watch(self, source: Any, readable: Callable[[], None]) -> None:
        self.watched.append(readable)

    def next(self) -> float:
        """Let the next timer pass; its delay."""
        delay, callback = self.timers.pop(0)
        callback()
        return delay


class Bench:
    """The events of interfaces with stand-ins around them, and what they were called with.

    answers: of each refresh of the outbounds; an OSError is raised. reports: of each drain.
    """

    def __init__(self, reports: list[Reported], answers: list[object]) -> None:
        self.refreshed: list[bool] = []
        self.compared: list[bool] = []
        self.sources_forgotten = self.forwarding_stopped = 0
        self.loop = Loop()
        self._answers = answers
        nothing = cast(Any, lambda *_, **__: None)
        direct = SimpleNamespace(forget=nothing, stop_forwarding=self._stop_forwarding)
        parts = SimpleNamespace(
            outbounds=SimpleNamespace(refresh=self._refresh, interface_names=list, by_policy={}),
            senders=SimpleNamespace(refresh=nothing, prepare=nothing),
            forwarder=SimpleNamespace(direct=direct, config=None),
            answers=SimpleNamespace(refresh=bool),
        )
        installed = SimpleNamespace(
            reconcile=lambda *, compares: self.compared.append(compares),
            is_beside=OURS.__eq__,
            may_have_source_of=lambda route: route in (OURS, AMONG_OURS),
        )
        changes = SimpleNamespace(drain=lambda: reports.pop(0))
        facts = SimpleNamespace(forget_sources=self._forget_sources)
        guard = SimpleNamespace(when_free=lambda done: done(None))
        given: list[Any] = [changes, object(), facts, guard, parts, installed, self.loop, nothing]
        InterfaceEvents(*given)

    def notify(self) -> None:
        self.loop.watched[0]()

    def _refresh(self, *, address_removed: bool) -> object:
        self.refreshed.append(address_removed)
        answer = self._answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    def _stop_forwarding(self) -> None:
        self.forwarding_stopped += 1

    def _forget_sources(self) -> None:
        self.sources_forgotten += 1


def test_interfaces_that_cannot_be_read_are_read_again(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(
        [Reported(None, address_removed=True), Reported((), address_removed=False)],
        [OSError(errno.ENOBUFS, "No buffer space available"), []],
    )
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            bench.notify()
        for _ in range(2):
            bench.loop.next()
    assert "the interfaces cannot be read: No buffer space available: trying again" in caplog.text
    assert bench.compared == []
    assert bench.loop.next() == RETRY
    bench.loop.next()
    assert bench.compared == [True]
    assert bench.refreshed == [True, True], "what was not followed is not forgotten"


@pytest.mark.parametrize(
    ("routes", "compares", "forgets"),
    [
        ([ELSEWHERE] * 50, False, False),
        ([ELSEWHERE, AMONG_OURS], False, True),
        ([ELSEWHERE, OURS], True, True),
        (None, True, True),
    ],
    ids=["elsewhere", "among ours", "ours", "anything"],
)
def test_our_routes_are_compared_where_they_may_be_meant(
    routes: list[ForeignRoute] | None, compares: bool, forgets: bool
) -> None:
    """A dump of all routes for each of another program's would stop everything."""
    bench = Bench([Reported(routes, address_removed=False)], [[]])
    bench.notify()
    assert bench.forwarding_stopped == 1, "at once: a next hop may be another now"
    for _ in range(2):
        bench.loop.next()
    assert bench.compared == [compares]
    assert bench.sources_forgotten == forgets
    assert bench.loop.timers == []


def test_a_later_report_of_others_does_not_undo_that_ours_are_meant() -> None:
    reports = [Reported([route], address_removed=False) for route in (OURS, ELSEWHERE)]
    bench = Bench(reports, [[]])
    for _ in reports:
        bench.notify()
    for _ in range(2):
        bench.loop.next()
    assert bench.compared == [True]
