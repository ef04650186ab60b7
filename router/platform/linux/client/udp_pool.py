"""UDP sockets that the guard opened and no flow uses yet.

Always true: nothing here waits for the guard, which may be comparing thousands of routes. The pool
is refilled while sockets are left; where very many flows begin at a time, some get a socket of this
process's own, whose buffers are as large as those of any program.
"""

from __future__ import annotations

import socket
from collections import deque
from typing import Final

from router.platform.families import FAMILY
from router.platform.linux.datagrams import BUFFER
from router.platform.linux.sockets import enlarge_buffers
from router.platform.privileged.channel import Message
from router.platform.privileged.client import GuardClient
from router.platform.privileged.handed_over import received

PORTION: Final = 16
"""Sockets requested at a time; the pool is refilled when as few are left."""


class UdpPool:
    """Of one family."""

    def __init__(self, guard: GuardClient, version: int) -> None:
        self._guard = guard
        self._arguments = {"version": version, "number": PORTION}
        self._unused: deque[socket.socket] = deque()
        self._is_requested = False

    def fill(self) -> None:
        """Request sockets, if few are left. Raises PlatformError."""
        if len(self._unused) <= PORTION and not self._is_requested:
            self._is_requested = True
            self._guard.request("udp_sockets", self._refill, **self._arguments)

    def take(self) -> socket.socket:
        """One that is bound to nothing, and the caller's. Raises PlatformError, OSError."""
        taken = self._unused.popleft() if self._unused else self._own()
        self.fill()
        return taken

    def close(self) -> None:
        while self._unused:
            self._unused.pop().close()

    def _refill(self, reply: Message | Exception) -> None:
        """An error is not reported here: `take` requests again."""
        self._is_requested = False
        if isinstance(reply, Message) and reply.descriptors:
            self._unused += received(reply)

    def _own(self) -> socket.socket:
        sock = socket.socket(FAMILY[self._arguments["version"]], socket.SOCK_DGRAM)
        enlarge_buffers(sock, BUFFER)
        return sock
