"""UDP sockets that the guard opened and no flow uses yet.

Always true: the pool is refilled while sockets are left, so the first datagram of a flow waits for
the guard, which may be comparing thousands of routes, only if very many flows begin at a time.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Final

from router.platform.privileged.channel import Message
from router.platform.privileged.client import GuardClient

PORTION: Final = 16
"""Sockets requested at a time; the pool is refilled when as few are left."""


class UdpPool:
    """Of one family."""

    def __init__(self, guard: GuardClient, version: int) -> None:
        self._guard = guard
        self._arguments = {"version": version, "number": PORTION}
        self._unused: deque[socket.socket] = deque()
        self._is_requested = False

    def take(self) -> socket.socket:
        """One that is bound to nothing, and the caller's. Raises PlatformError, OSError."""
        if not self._unused:
            self._unused += self._guard.open_sockets("udp_sockets", **self._arguments)
        taken = self._unused.popleft()
        if len(self._unused) <= PORTION and not self._is_requested:
            self._is_requested = True
            self._guard.request("udp_sockets", self._refill, **self._arguments)
        return taken

    def close(self) -> None:
        while self._unused:
            self._unused.pop().close()

    def _refill(self, reply: Message | Exception) -> None:
        """An error is not reported here: `take` meets it again once the pool is empty."""
        self._is_requested = False
        if isinstance(reply, Message):
            self._unused += (socket.socket(fileno=each) for each in reply.descriptors)
