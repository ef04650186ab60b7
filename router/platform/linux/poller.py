"""epoll(7), without the objects that `selectors` makes for each wait: a wait is
on the path of every packet, and this halves what it costs (docs/adr/001-foundations.md).

To wake a process that sleeps costs sender and receiver more than a packet does. So while packets
follow each other closely, a wait polls a few times before it sleeps, and yields the processor
between two polls (docs/adr/034-busy-polling.md).

Always true: where nothing else wants the processor, these polls take some 20 microseconds in all;
where packets are too rare for them, most waits have none.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from router.platform.linux.only_on_linux import (
    EPOLLET,
    EPOLLIN,
    EPOLLOUT,
    EPOLLPRI,
    EPOLLRDHUP,
    epoll,
)

CHANGES = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDHUP | EPOLLET

Wait = Callable[[float | None], list[tuple[int, int]]]

POLLS: Final = 20
"""Before a sleep."""
BRIEF: Final = 50e-6
"""Seconds. A sleep that is shorter, with the time to wake up, is followed by polls."""
PAUSE: Final = 8
"""Brief sleeps without polls, after polls that found nothing."""


class LinuxPoller:
    """See Poller."""

    def __init__(self) -> None:
        self._epoll = epoll()
        self.close = self._epoll.close
        self.wait = polling_first(self._epoll.poll)

    def add(self, descriptor: int) -> None:
        self._epoll.register(descriptor, EPOLLIN)

    def add_changes(self, descriptor: int) -> None:
        self._epoll.register(descriptor, CHANGES)

    def repeat_changes(self, descriptor: int) -> None:
        self._epoll.modify(descriptor, CHANGES)

    def remove(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)


def polling_first(
    poll: Wait,
    clock: Callable[[], float] = time.monotonic,
    yield_processor: Callable[[], None] = os.sched_yield,
) -> Wait:
    """What waits as `poll` does, and polls before it sleeps where the last sleep was brief."""
    was_brief = False
    pause = 0

    def wait(timeout: float | None) -> list[tuple[int, int]]:
        nonlocal was_brief, pause
        if timeout == 0.0:
            return poll(0.0)
        if was_brief:
            if pause:
                pause -= 1
            else:
                for _ in range(POLLS):
                    ready = poll(0.0)
                    if ready:
                        return ready
                    yield_processor()
                pause = PAUSE
        began = clock()
        ready = poll(timeout)
        was_brief = clock() - began < BRIEF
        return ready

    return wait
