"""Accepting what our kernel has connected to a listener, also when no descriptor is left.

Theory of operation. A connection waits in the listener's queue until it is accepted, and a listener
whose queue is not empty stays readable. Without a descriptor the connection can be neither accepted
nor refused; so one descriptor is kept spare, is closed for as long as it takes to accept and reset
the connection, and is opened again.

Always true: each turn at a listener shortens its queue, or the listener is not polled for a while,
so that the loop is not kept busy.

Must not know: which connections may be accepted.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from router.platform.base.descriptors import HasFileno

REST: Final = 1.0
"""Seconds without accepting when not even the spare descriptor could be opened."""
Accepted = Callable[[socket.socket, Any], object]
"""A socket and the address that has connected."""


class Watcher(Protocol):
    """The part of the event loop that is needed here; see router.engine.loop."""

    def watch(self, source: HasFileno, readable: Callable[[], None]) -> None: ...

    def forget(self, source: HasFileno) -> None: ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...


class Acceptor:
    """At several listeners, all of them non-blocking, which it closes in the end."""

    def __init__(self, watcher: Watcher) -> None:
        """Raises OSError."""
        self._watcher = watcher
        self._listeners: list[tuple[socket.socket, Accepted, Accepted]] = []
        self._spare: int | None = _any_descriptor()

    def listen(self, listener: socket.socket, accepted: Accepted, turned_away: Accepted) -> None:
        """Call `accepted`, or, when there is no descriptor to keep the socket with, `turned_away`,
        which has to close it."""
        self._listeners.append((listener, accepted, turned_away))
        self._watch(listener, accepted, turned_away)

    def accept_all(self) -> None:
        """Accept now what has connected by now, whether it was reported or not."""
        for listener, accepted, turned_away in self._listeners:
            try:
                while _accept_next(listener, accepted):
                    pass
            except OSError:
                while self._turn_one_away(listener, turned_away):
                    pass

    def close(self) -> None:
        for listener, *_ in self._listeners:
            listener.close()
        self._close_spare()

    def _watch(self, listener: socket.socket, accepted: Accepted, turned_away: Accepted) -> None:
        self._watcher.watch(listener, partial(self._readable, listener, accepted, turned_away))

    def _readable(self, listener: socket.socket, accepted: Accepted, turned_away: Accepted) -> None:
        """One a turn: a listener that has more stays readable, and mostly it has no more."""
        try:
            _accept_next(listener, accepted)
        except OSError:
            self._lack_descriptor(listener, accepted, turned_away)

    def _lack_descriptor(
        self, listener: socket.socket, accepted: Accepted, turned_away: Accepted
    ) -> None:
        if self._turn_one_away(listener, turned_away) is None:
            self._watcher.forget(listener)
            again = partial(self._watch, listener, accepted, turned_away)
            self._watcher.call_later(REST, again)

    def _turn_one_away(self, listener: socket.socket, turned_away: Accepted) -> bool | None:
        """Whether one was waiting; None if even the spare descriptor was not enough to see."""
        self._close_spare()
        try:
            return _accept_next(listener, turned_away)
        except OSError:
            return None
        finally:
            self._open_spare()

    def _close_spare(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _open_spare(self) -> None:
        try:
            self._spare = _any_descriptor()
        except OSError:
            self._spare = None


def _accept_next(listener: socket.socket, accepted: Accepted) -> bool:
    """Whether one was waiting. Raises OSError where no descriptor is left; `accepted` raises
    none."""
    try:
        sock, address = listener.accept()
    except BlockingIOError:
        return False
    except ConnectionError:  # it was reset meanwhile
        return True
    if address is None:  # likewise: of such a one macOS may tell no address
        sock.close()
    else:
        accepted(sock, address)
    return True


def _any_descriptor() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
