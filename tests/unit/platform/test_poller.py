"""Events of a socket whose watcher changes, with the system's own poller."""

from __future__ import annotations

import socket
from functools import partial

from router.engine.loop import Loop
from router.platform.base.descriptors import BROKEN, ENDED, READABLE, URGENT
from router.platform.linux.poller import LinuxPoller
from tests.unit.outbound.test_relay import connection


def test_a_second_watcher_gets_the_events_of_the_first() -> None:
    """A change is reported once: the relay would otherwise miss one that arrives while its
    connection is being set up."""
    ours, theirs = connection()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    events: list[int] = []
    with Loop(LinuxPoller()) as loop, ours:

        def take_over(_event: int) -> None:
            loop.redirect_changes(ours, partial(record, by="the second"))

        def record(event: int, by: str) -> None:
            events.append(event)
            loop.stop(by)

        loop.watch_changes(ours, take_over)
        theirs.send(b"!", socket.MSG_OOB)
        assert loop.run() == "the second"
        theirs.close()
    assert events[0] & (READABLE | URGENT | BROKEN) == READABLE | URGENT


def test_an_end_is_reported_with_what_is_before_it() -> None:
    ours, theirs = connection()
    with Loop(LinuxPoller()) as loop, ours, theirs:
        events: list[int] = []

        def record(event: int) -> None:
            events.append(event)
            loop.stop("reported")

        theirs.send(b"x")
        theirs.shutdown(socket.SHUT_WR)
        loop.watch_changes(ours, record)
        loop.run()
    assert events[0] & (READABLE | ENDED) == READABLE | ENDED
