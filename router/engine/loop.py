"""One thread that waits for descriptors, timers and signals.

Always true: callbacks run one after the other and none may block; a descriptor is reported until
nothing is left to read, but each callback does a bounded amount of work, so that no flood delays
timers or other descriptors. Changes are reported once: a callback that has more to do schedules
itself (`call_soon`).

Must not know: packets, rules, what a descriptor is for.
"""

from __future__ import annotations

import heapq
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from types import TracebackType
from typing import Final, Self

from router.platform.base.descriptors import HasFileno, Poller

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Loop:
    """`now` is the time of the present round, in seconds of a steady clock."""

    def __init__(self, poller: Poller) -> None:
        self.now = time.monotonic()
        self._poller = poller
        self._readable: dict[int, Callable[[], None]] = {}
        self._changed: dict[int, Callable[[int], None]] = {}
        self._soon: list[Callable[[], None]] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._on_signal: dict[int, Callable[[], None]] = {}
        self._stopped_by: str | None = None
        self._ready: list[tuple[int, int]] = []

    def __enter__(self) -> Self:
        """Signals end the loop from now on, instead of the process."""
        self._woken, self._waker = socket.socketpair()
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        self._former_waker = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._former = {number: signal.signal(number, _noted) for number in SIGNALS}
        self.watch(self._woken, self._signalled)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)
        signal.set_wakeup_fd(self._former_waker)
        self._poller.close()
        self._woken.close()
        self._waker.close()

    def watch(self, source: HasFileno, readable: Callable[[], None]) -> None:
        """Call `readable` whenever there is something to read. It must not wait for that: another
        callback of the same round can have read it."""
        self._readable[source.fileno()] = readable
        self._poller.add(source.fileno())

    def forget(self, source: HasFileno) -> None:
        """Wait for it no longer. Only from a timer: in the present round it may be due already."""
        del self._readable[source.fileno()]
        self._poller.remove(source.fileno())

    def watch_changes(self, source: HasFileno, changed: Callable[[int], None]) -> None:
        """Call `changed` with what has happened to it (READABLE, WRITABLE, BROKEN), once each."""
        self._changed[source.fileno()] = changed
        self._poller.add_changes(source.fileno())

    def redirect_changes(self, source: HasFileno, changed: Callable[[int], None]) -> None:
        """Call `changed` from now on, instead of whatever was called before; at first with all that
        has happened to it so far, which may have been reported to the other already."""
        self._changed[source.fileno()] = changed
        self._poller.repeat_changes(source.fileno())

    def forget_changes(self, source: HasFileno) -> None:
        """Call no longer; the source is about to be closed. May be called at any time."""
        del self._changed[source.fileno()]

    def has_reported(self, descriptor: int) -> bool:
        """Whether it was ready when the present round began."""
        return descriptor in dict(self._ready)

    def report_readable(self, source: HasFileno) -> None:
        """Call what watches a source in the next round, as if there were something to read."""
        self.call_soon(partial(self._read, source.fileno()))

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call once, in the next round, after whatever is ready by then."""
        self._soon.append(callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        """Call once, in `delay` seconds at the earliest."""
        heapq.heappush(self._timers, (self.now + delay, next(self._order), callback))

    def on_signal(self, number: signal.Signals, callback: Callable[[], None]) -> None:
        """Call whenever the signal has arrived, between other callbacks; also one that was held
        back until now."""
        self._former.setdefault(number, signal.signal(number, _noted))
        self._on_signal[number] = callback
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})

    def stop(self, why: str) -> None:
        self._stopped_by = why

    def run(self) -> str:
        """Until a signal arrives or `stop` is called; why it ended."""
        wait, readable, timers = self._poller.wait, self._readable, self._timers
        clock = time.monotonic
        while self._stopped_by is None:
            if self._soon:
                ready = wait(0.0)
            elif timers:
                ready = wait(max(0.0, timers[0][0] - clock()))
            else:
                ready = wait(None)
            self.now = clock()
            self._ready = ready
            for descriptor, event in ready:
                if descriptor in readable:
                    readable[descriptor]()
                elif descriptor in self._changed:
                    self._changed[descriptor](event)
            if self._soon:
                self._run_soon()
            if timers and timers[0][0] <= self.now:
                self._run_timers()
        return self._stopped_by

    def _read(self, descriptor: int) -> None:
        if descriptor in self._readable:
            self._readable[descriptor]()

    def _run_soon(self) -> None:
        callbacks, self._soon = self._soon, []
        for callback in callbacks:
            callback()

    def _run_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            heapq.heappop(self._timers)[2]()

    def _signalled(self) -> None:
        for number in self._woken.recv(64):
            callback = self._on_signal.get(number)
            if callback is not None:
                callback()
            else:
                self.stop(signal.Signals(number).name)


def _noted(number: int, frame: object) -> None:
    """The wake-up descriptor reports the signal; this only replaces the default action."""
