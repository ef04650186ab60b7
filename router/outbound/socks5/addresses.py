"""The addresses of a proxy: its own, or those that its name has at present.

Theory of operation. The system resolves names by calls that wait, so a thread of its own makes the
call, and wakes the loop by a socket. There is one such thread at most for each proxy, at the start
and after failures; no connection waits for it.

Always true: the address that has worked last comes first.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from router.config.model import Proxy
from router.platform.base.descriptors import HasFileno
from router.platform.families import FAMILY, VERSION


class Watcher(Protocol):
    """The part of the event loop that is needed here; see router.engine.loop."""

    def watch(self, source: HasFileno, readable: Callable[[], None]) -> None: ...

    def forget(self, source: HasFileno) -> None: ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...


class ProxyAddresses:
    """all: 4 or 16 bytes each; empty as long as the name has none. fault: why, in one clause."""

    def __init__(self, proxy: Proxy, watcher: Watcher) -> None:
        own = proxy.address
        self.all: Sequence[bytes] = proxy.resolved if own is None else (own.packed,)
        self.fault = f"the name {proxy.host} is not resolved yet"
        self._host = proxy.host
        self._is_fixed = own is not None
        self._watcher = watcher
        self._waiting: list[Callable[[], None]] = []

    def worked(self, address: bytes) -> None:
        """An address of them is the one to begin with."""
        if address in self.all and self.all[0] != address:
            self.all = (address, *(each for each in self.all if each != address))

    def resolve(self, done: Callable[[], None]) -> None:
        """Ask the system, and call `done` afterwards; at once where there is nothing to resolve."""
        if self._is_fixed:
            done()
            return
        self._waiting.append(done)
        if len(self._waiting) == 1:
            awaited, sender = socket.socketpair(type=socket.SOCK_DGRAM)
            awaited.setblocking(False)
            self._watcher.watch(awaited, partial(self._resolved, awaited))
            thread = threading.Thread(target=_resolve, args=(self._host, sender), daemon=True)
            try:
                thread.start()
            except RuntimeError:  # a router with few rights may have no thread
                sender.send(b"!this router may not ask; reload it")
                sender.close()

    def _resolved(self, awaited: socket.socket) -> None:
        try:
            found = awaited.recv(65536)
        except BlockingIOError:
            return
        self._watcher.call_later(0.0, partial(self._close, awaited))
        kind, found = found[:1], found[1:]
        if kind == b"!":
            self.fault = f"the name {self._host} cannot be resolved: {found.decode()}"
        else:
            addresses = [socket.inet_pton(FAMILY[_version(text)], text) for text in _split(found)]
            first = [address for address in self.all[:1] if address in addresses]
            self.all = tuple(dict.fromkeys([*first, *addresses]))
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done()

    def _close(self, awaited: socket.socket) -> None:
        self._watcher.forget(awaited)
        awaited.close()


def _split(found: bytes) -> list[str]:
    return found.decode().split()


def _version(text: str) -> int:
    return 6 if ":" in text else 4


def _resolve(host: str, sender: socket.socket) -> None:
    """In the thread: one datagram, the addresses as text, or `!` and the reason."""
    with sender:
        sender.send(resolve(host))


def resolve(host: str) -> bytes:
    """See _resolve."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else None
        return b"!" + (why or "it is no name").encode()
    texts = dict.fromkeys(str(each[4][0]) for each in found if int(each[0]) in VERSION)
    usable = " ".join(text for text in texts if "%" not in text).encode()
    return b"=" + usable if usable else b"!it has no address that can be used"
