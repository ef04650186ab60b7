"""A TCP connection by a socket that the kernel connects.

Always true: the loop watches the socket from the start until the attempt is abandoned, or until the
caller that it was released to ends that.

Must not know: which flow the connection is for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable

from router.outbound.base import ChangeWatcher, DialRequest
from router.platform.base.tcp import ANY_PORT, ConnectFailure, TcpSockets
from router.platform.tcp_socket import reset_on_close
from router.policy.network import Interface
from router.wire import ip


class SocketDial:
    """See Dial."""

    def __init__(
        self,
        sockets: TcpSockets,
        watcher: ChangeWatcher,
        interface: Interface,
        request: DialRequest,
        changed: Callable[[int], None],
    ) -> None:
        """Raises OSError when the attempt fails at once."""
        self._sockets = sockets
        self._watcher = watcher
        self.sock = connecting_socket(sockets, interface, request)
        watcher.watch_changes(self.sock, changed)

    @property
    def source_port(self) -> int:
        port: int = self.sock.getsockname()[1]
        return port

    @property
    def is_connected(self) -> bool:
        try:
            self.sock.getpeername()
        except OSError:
            return False
        return True

    @property
    def failure(self) -> ConnectFailure | None:
        failure = self._sockets.failure(self.sock)
        return failure if failure.error else None

    def release(self) -> socket.socket:
        with contextlib.suppress(OSError):  # of a connection that was reset since: read reports it
            self._sockets.connected(self.sock)
        return self.sock

    def abandon(self) -> None:
        self._watcher.forget_changes(self.sock)
        reset_on_close(self.sock)
        self.sock.close()


def connecting_socket(
    sockets: TcpSockets, interface: Interface, request: DialRequest
) -> socket.socket:
    """A socket that is bound to the interface and connects: from the application's port, unless a
    connection to the same destination or a program of this machine has it there. Raises OSError."""
    for port in (request.source_port, ANY_PORT):
        sock = sockets.dialling(
            request.version, interface, port, request.hop_limit, request.traffic_class
        )
        outcome = sock.connect_ex((ip.format_address(request.destination), request.port))
        if outcome in (0, errno.EINPROGRESS):
            return sock
        sock.close()
        if outcome != errno.EADDRNOTAVAIL:
            break
    raise OSError(outcome, os.strerror(outcome))
