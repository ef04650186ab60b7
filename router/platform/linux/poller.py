"""epoll(7), without the objects that `selectors` makes for each wait: a wait is
on the path of every packet, and this halves what it costs (docs/adr/001-foundations.md).

Who sends a packet to a process that sleeps has to wake it, which costs both of them more than the
packet. So while packets follow each other closely, a wait looks a few times before it sleeps, and
lets other programs run between two looks (docs/adr/034-looks-before-sleep.md).

Always true: where nothing else wants the processor, looks take some 20 microseconds in all; where
what comes is too rare for them, most waits have none.
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

LOOKS: Final = 20
BRIEF: Final = 50e-6
"""Seconds that a sleep takes, with the time to wake up, after which looks are worth while."""
WITHOUT: Final = 8
"""Brief sleeps without looks, after looks that were in vain."""


class LinuxPoller:
    """See Poller."""

    def __init__(self) -> None:
        self._epoll = epoll()
        self.close = self._epoll.close
        self.wait = looking_first(self._epoll.poll)

    def add(self, descriptor: int) -> None:
        self._epoll.register(descriptor, EPOLLIN)

    def add_changes(self, descriptor: int) -> None:
        self._epoll.register(descriptor, CHANGES)

    def repeat_changes(self, descriptor: int) -> None:
        self._epoll.modify(descriptor, CHANGES)

    def remove(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)


def looking_first(
    poll: Wait,
    clock: Callable[[], float] = time.monotonic,
    let_others_run: Callable[[], None] = os.sched_yield,
) -> Wait:
    """What waits as `poll` does, and looks before it sleeps where that is worth while."""
    was_brief = False
    without = 0

    def wait(timeout: float | None) -> list[tuple[int, int]]:
        nonlocal was_brief, without
        if timeout == 0.0:
            return poll(0.0)
        if was_brief:
            if without:
                without -= 1
            else:
                for _ in range(LOOKS):
                    ready = poll(0.0)
                    if ready:
                        return ready
                    let_others_run()
                without = WITHOUT
        began = clock()
        ready = poll(timeout)
        was_brief = clock() - began < BRIEF
        return ready

    return wait
