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
from functools import partial
from typing import Final

from router.outbound.base import ChangeWatcher, DialRequest
from router.outbound.reported import SocketErrors
from router.platform.base.descriptors import BROKEN
from router.platform.base.tcp import ANY_PORT, USUAL_HOP_LIMIT, ConnectFailure, TcpSockets
from router.platform.tcp_socket import reset_on_close
from router.policy.network import Interface
from router.wire import ip

NO_SUCH_PORT: Final = frozenset({errno.EADDRNOTAVAIL, errno.EADDRINUSE})
"""A connection with both of these ends exists: of Linux, and of xnu (netinet/in_pcb.c:1906)."""


class SocketDial:
    """See Dial.

    errors: what reports the ICMP error that ends the attempt; None where the socket does.
    """

    def __init__(
        self,
        sockets: TcpSockets,
        watcher: ChangeWatcher,
        interface: Interface,
        request: DialRequest,
        changed: Callable[[int], None],
        errors: SocketErrors | None = None,
    ) -> None:
        """Raises OSError when the attempt fails at once."""
        self._sockets = sockets
        self._watcher = watcher
        self._changed = changed
        self._errors = errors
        self._has_hop_limit = request.hop_limit != USUAL_HOP_LIMIT
        self._key = b""
        self._reported: ConnectFailure | None = None
        self._source_port = 0
        self.sock = connecting_socket(sockets, interface, request)
        if errors is None:
            watcher.watch_changes(self.sock, changed)
        else:
            self._key = _key_of(self.sock, request)
            errors.add_dial(self._key, self)
            watcher.watch_changes(self.sock, self._changed_behind_errors)

    @property
    def source_port(self) -> int:
        if not self._source_port:
            self._source_port = self.sock.getsockname()[1]
        return self._source_port

    @property
    def is_connected(self) -> bool:
        try:
            self.sock.getpeername()
        except OSError:
            return False
        return True

    @property
    def failure(self) -> ConnectFailure | None:
        if self._reported is not None:
            return self._reported
        failure = self._sockets.failure(self.sock)
        return failure if failure.error else None

    def fail(self, failure: ConnectFailure) -> None:
        """An ICMP error has ended the attempt."""
        self._reported = failure
        self._changed(BROKEN)

    def release(self) -> socket.socket:
        self._forget_errors()
        if self._has_hop_limit:
            with contextlib.suppress(OSError):  # of one that was reset since: read reports it
                self._sockets.connected(self.sock)
        return self.sock

    def abandon(self) -> None:
        self._forget_errors()
        self._watcher.forget_changes(self.sock)
        reset_on_close(self.sock)
        self.sock.close()

    def _changed_behind_errors(self, event: int) -> None:
        """The ICMP error that has broken a socket may be read later in the same round."""
        if event & BROKEN:
            self._watcher.call_soon(partial(self._change_unless_over, event))
        else:
            self._changed(event)

    def _change_unless_over(self, event: int) -> None:
        if self._key:
            self._changed(event)

    def _forget_errors(self) -> None:
        if self._errors is not None:
            self._errors.remove_dial(self._key)
            self._key = b""


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
        if outcome not in NO_SUCH_PORT:
            break
    raise OSError(outcome, os.strerror(outcome))


def _key_of(sock: socket.socket, request: DialRequest) -> bytes:
    """Source, destination and ports of what a socket that connects sends."""
    host, port, *_ = sock.getsockname()
    source = socket.inet_pton(sock.family, host.partition("%")[0])
    ports: bytes = port.to_bytes(2, "big") + request.port.to_bytes(2, "big")
    return source + request.destination + ports
