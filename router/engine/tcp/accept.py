"""Accepting what our kernel has connected to a listener, also when no descriptor is left.

Theory of operation. Who has been connected waits until he is accepted, and a listener where
somebody waits is readable for ever. Without a descriptor he can be neither accepted nor refused; so
one is kept in hand, is let go for as long as it takes to accept him and to reset what he has been
told is a connection, and is taken again.

Always true: a listener that has been read from has fewer waiting than before, or rests for a while:
it never keeps the loop from sleeping.

Must not know: who may be accepted.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

from router.platform.base.descriptors import HasFileno

BUDGET: Final = 64
"""Accepted at a listener before others have their turn."""
REST: Final = 1.0
"""Seconds for which nobody is accepted when not even the descriptor kept for that could be had."""
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
        self._listeners: list[socket.socket] = []
        self._in_hand: int | None = _any_descriptor()

    def listen(self, listener: socket.socket, accepted: Accepted, turned_away: Accepted) -> None:
        """Call `accepted`, or, when there is no descriptor to keep the socket with, `turned_away`,
        which has to close it."""
        self._listeners.append(listener)
        self._watch(listener, accepted, turned_away)

    def close(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._let_go()

    def _watch(self, listener: socket.socket, accepted: Accepted, turned_away: Accepted) -> None:
        self._watcher.watch(listener, partial(self._readable, listener, accepted, turned_away))

    def _readable(self, listener: socket.socket, accepted: Accepted, turned_away: Accepted) -> None:
        for _ in range(BUDGET):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, ConnectionError):
                return
            except OSError:
                break
            accepted(sock, address)
        else:
            return
        if not self._turn_one_away(listener, turned_away):
            self._watcher.forget(listener)
            again = partial(self._watch, listener, accepted, turned_away)
            self._watcher.call_later(REST, again)

    def _turn_one_away(self, listener: socket.socket, turned_away: Accepted) -> bool:
        """Whether that has come any further: the listener is empty, or has one less waiting."""
        self._let_go()
        try:
            turned_away(*listener.accept())
        except (BlockingIOError, ConnectionError):
            return True
        except OSError:
            return False
        else:
            return True
        finally:
            self._take_in_hand()

    def _let_go(self) -> None:
        if self._in_hand is not None:
            os.close(self._in_hand)
            self._in_hand = None

    def _take_in_hand(self) -> None:
        try:
            self._in_hand = _any_descriptor()
        except OSError:
            self._in_hand = None


def _any_descriptor() -> int:
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
