"""Whether what is sent to a proxy is paced.

Theory of operation. A congestion control that paces (BBR) sends each stream by a timer, which
costs more than moving the bytes where a proxy is on this machine or on its LAN, and a lost segment
is sent again within a millisecond there. So what is sent to a proxy that near is not paced. The
first connection to an address of it shows how near it is, until the way to it changes.

Must not know: what is sent.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from router.platform.base.tcp import TcpSockets

NEAR: Final = 0.001
"""Seconds there and back, at most."""


class Pacing:
    """Of the connections to one proxy."""

    def __init__(self, sockets: TcpSockets) -> None:
        self._sockets = sockets
        self._is_near: dict[bytes, bool] = {}

    def forget(self) -> None:
        """The way to the proxy has changed."""
        self._is_near.clear()

    def decide(self, server: bytes, sock: socket.socket) -> None:
        """About a connection to an address of the proxy."""
        with contextlib.suppress(OSError):  # it was reset a moment ago
            is_near = self._is_near.get(server)
            if is_near is None:
                shortest = self._sockets.tcp_info(sock).shortest
                is_near = self._is_near[server] = shortest is not None and shortest <= NEAR
            if is_near:
                self._sockets.send_unpaced(sock)
