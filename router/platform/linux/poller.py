"""epoll(7), without the objects that `selectors` makes for each wait: a wait is
on the path of every packet, and this halves what it costs (docs/adr/001-foundations.md)."""

from __future__ import annotations

from collections.abc import Callable

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


class LinuxPoller:
    """See Poller."""

    def __init__(self) -> None:
        self._epoll = epoll()
        self.close = self._epoll.close
        self.wait: Wait = self._epoll.poll

    def add(self, descriptor: int) -> None:
        self._epoll.register(descriptor, EPOLLIN)

    def add_changes(self, descriptor: int) -> None:
        self._epoll.register(descriptor, CHANGES)

    def repeat_changes(self, descriptor: int) -> None:
        self._epoll.modify(descriptor, CHANGES)

    def remove(self, descriptor: int) -> None:
        self._epoll.unregister(descriptor)
