"""An event loop whose rounds and time are controlled by a test."""

from __future__ import annotations

import select
from collections.abc import Callable

from router.platform.base.descriptors import BROKEN, READABLE, WRITABLE, HasFileno

CHANGES = select.POLLIN | select.POLLOUT


class Rounds:
    """See Loop. Reports changes again as long as they last, which is more than it has to."""

    def __init__(self) -> None:
        self.now = 100.0
        self._readable: dict[int, Callable[[], None]] = {}
        self._changed: dict[int, Callable[[int], None]] = {}
        self._soon: list[Callable[[], None]] = []
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def watch(self, source: HasFileno, readable: Callable[[], None]) -> None:
        self._readable[source.fileno()] = readable

    def forget(self, source: HasFileno) -> None:
        del self._readable[source.fileno()]

    def watch_changes(self, source: HasFileno, changed: Callable[[int], None]) -> None:
        self._changed[source.fileno()] = changed

    def forget_changes(self, source: HasFileno) -> None:
        del self._changed[source.fileno()]

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._soon.append(callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self._timers.append((self.now + delay, callback))

    def run(self, rounds: int = 1) -> None:
        for _ in range(rounds):
            self._round()

    def wait(self, seconds: int) -> None:
        """Rounds, a second after each other."""
        for _ in range(seconds):
            self.now += 1
            self._round()

    def _round(self) -> None:
        poll = select.poll()
        for descriptor in self._readable:
            poll.register(descriptor, select.POLLIN)
        for descriptor in self._changed:
            poll.register(descriptor, CHANGES)
        for descriptor, event in poll.poll(0):
            if descriptor in self._readable:
                self._readable[descriptor]()
            elif descriptor in self._changed:
                self._changed[descriptor](_what(event))
        callbacks, self._soon = self._soon, []
        for callback in callbacks:
            callback()
        due = [timer for timer in self._timers if timer[0] <= self.now]
        self._timers = [timer for timer in self._timers if timer[0] > self.now]
        for _, callback in due:
            callback()


def _what(event: int) -> int:
    return (
        (READABLE if event & select.POLLIN else 0)
        | (WRITABLE if event & select.POLLOUT else 0)
        | (BROKEN if event & (select.POLLERR | select.POLLHUP) else 0)
    )
