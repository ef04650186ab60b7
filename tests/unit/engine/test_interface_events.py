"""What follows a notification when the system cannot say what has changed."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from router.engine.interface_events import RETRY, InterfaceEvents
from router.platform.base.facts import Reported


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


def test_interfaces_that_cannot_be_read_are_read_again(caplog: pytest.LogCaptureFixture) -> None:
    answers: list[object] = [OSError(errno.ENOBUFS, "No buffer space available"), []]
    read: list[object] = []
    removed: list[bool] = []

    def refresh(*, address_removed: bool) -> object:
        read.append(answers[0])
        removed.append(address_removed)
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    nothing = cast(Any, lambda *_, **__: None)
    outbounds = SimpleNamespace(refresh=refresh, interface_names=list, by_policy={})
    senders = SimpleNamespace(refresh=nothing, prepare=nothing)
    forwarder = SimpleNamespace(direct=SimpleNamespace(forget=nothing), config=None)
    answers_of = SimpleNamespace(refresh=bool)
    parts = SimpleNamespace(
        outbounds=outbounds, senders=senders, forwarder=forwarder, answers=answers_of
    )
    compared: list[bool] = []

    def reconcile(*, compares: bool) -> None:
        compared.append(compares)

    installed = SimpleNamespace(reconcile=reconcile, is_beside=bool, may_have_source_of=bool)
    reports = [Reported(None, address_removed=True), Reported((), address_removed=False)]
    changes = SimpleNamespace(drain=lambda: reports.pop(0))
    facts = SimpleNamespace(forget_sources=nothing)
    guard = SimpleNamespace(when_free=lambda done: done(None))
    loop = Loop()
    given: list[Any] = [changes, object(), facts, guard, parts, installed, loop, nothing]
    InterfaceEvents(*given)
    with caplog.at_level(logging.WARNING):
        loop.watched[0]()
        loop.watched[0]()
        loop.next()
        loop.next()
    assert "the interfaces cannot be read: No buffer space available: trying again" in caplog.text
    assert compared == []
    assert loop.next() == RETRY
    loop.next()
    assert (len(read), compared) == (2, [True])
    assert removed == [True, True], "what was not followed is not forgotten"
