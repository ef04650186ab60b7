"""Whether what is sent to a proxy is paced.

Theory of operation. A congestion control that paces (BBR) sends each stream by a timer, which
costs more than moving the bytes where a proxy is on this machine or on its LAN, and a lost segment
is sent again within a millisecond there. So what is sent to a proxy that near is not paced. The
handshakes show it: one that took NEAR at most is enough, until the way to the proxy changes; a busy
machine makes one longer, and none shorter.

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
        self._near: set[bytes] = set()

    def forget(self) -> None:
        """The way to the proxy has changed."""
        self._near.clear()

    def decide(self, server: bytes, sock: socket.socket) -> None:
        """About a connection to an address of the proxy."""
        with contextlib.suppress(OSError):  # it was reset a moment ago
            if server not in self._near:
                shortest = self._sockets.tcp_info(sock).shortest
                if shortest is None or shortest > NEAR:
                    return
                self._near.add(server)
            self._sockets.send_unpaced(sock)
