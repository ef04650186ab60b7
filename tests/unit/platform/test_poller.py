"""What a loop says of a socket to whoever takes it over, over the system's own poller."""

from __future__ import annotations

import socket
from functools import partial

from router.engine.loop import Loop
from router.platform.base.descriptors import BROKEN, READABLE, URGENT
from router.platform.linux.poller import LinuxPoller
from tests.unit.outbound.test_relay import connection


def test_whoever_takes_over_is_told_what_the_other_was_told() -> None:
    """A change is reported once: one that comes while a connection is only half made would never
    be known to whoever relays it."""
    ours, theirs = connection()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    told: list[int] = []
    with Loop(LinuxPoller()) as loop, ours:

        def take_over(_event: int) -> None:
            loop.redirect_changes(ours, partial(tcp_info, by="the second"))

        def tcp_info(event: int, by: str) -> None:
            told.append(event)
            loop.stop(by)

        loop.watch_changes(ours, take_over)
        theirs.send(b"!", socket.MSG_OOB)
        assert loop.run() == "the second"
        theirs.close()
    assert told[0] & (READABLE | URGENT | BROKEN) == READABLE | URGENT
