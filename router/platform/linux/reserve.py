"""UDP sockets that the guard has opened and no flow has taken yet.

Always true: it is filled up again while there are still some, so that the first datagram of a flow
waits for the guard, which may have thousands of routes to compare, only if very many flows begin at
a time.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Final

from router.platform.privileged.channel import Message
from router.platform.privileged.client import GuardClient

PORTION: Final = 16
"""Sockets asked for at a time, and as few as are left when that is done."""


class Reserve:
    """Of one family."""

    def __init__(self, guard: GuardClient, version: int) -> None:
        self._guard = guard
        self._asked = {"version": version, "number": PORTION}
        self._fresh: deque[socket.socket] = deque()
        self._is_coming = False

    def take(self) -> socket.socket:
        """One that is bound to nothing, and the caller's. Raises PlatformError, OSError."""
        if not self._fresh:
            self._fresh += self._guard.open_sockets("udp_sockets", **self._asked)
        taken = self._fresh.popleft()
        if len(self._fresh) <= PORTION and not self._is_coming:
            self._is_coming = True
            self._guard.request("udp_sockets", self._came, **self._asked)
        return taken

    def close(self) -> None:
        while self._fresh:
            self._fresh.pop().close()

    def _came(self, answer: Message | Exception) -> None:
        """If there are none, whoever takes the last one will be told why."""
        self._is_coming = False
        if isinstance(answer, Message):
            self._fresh += (socket.socket(fileno=each) for each in answer.descriptors)
