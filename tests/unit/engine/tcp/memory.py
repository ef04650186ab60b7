"""TCP sockets in memory: a dial ends when the test completes it, a listener accepts what the test
has connected, and what is relayed goes through socket pairs whose other ends the test holds."""

from __future__ import annotations

import socket
from collections.abc import Callable
from itertools import count
from typing import cast

from router.outbound.base import DialRequest
from router.platform.base.descriptors import BROKEN, READABLE, WRITABLE, HasFileno
from router.platform.base.tcp import ConnectFailure, TcpInfo
from router.platform.tcp_socket import reset_on_close
from router.wire import ip

FIRST_PORT = 20000
ANY_EVENT = READABLE | WRITABLE | BROKEN


class MemoryStream:
    """One of our sockets; `there` is the other end of its connection."""

    def __init__(self, version: int) -> None:
        self.family = socket.AF_INET if version == 4 else socket.AF_INET6
        self._sock, self.there = socket.socketpair()
        self._sock.setblocking(False)
        self.there.setblocking(False)
        self.address: tuple[str, int] | None = None
        self.connected = self.closed = self.resets = self.has_ended = False
        self.why = ConnectFailure(0)
        self.tcp_info = TcpInfo(2, 0, silence=10.0, has_unacknowledged=False, round_trip=None)
        self.traffic_classes: list[int] = []
        self.probes = 0
        self.is_probing = False
        self.fileno = self._sock.fileno
        self.recv, self.recv_into = self._sock.recv, self._sock.recv_into
        self.send = self._sock.send
        self.shutdown = self._sock.shutdown

    def getsockname(self) -> tuple[str, int]:
        return ("192.0.2.2" if self.family == socket.AF_INET else "2001:db8:2::2", 50000)

    def setblocking(self, flag: bool) -> None:
        assert not flag

    def setsockopt(self, level: int, name: int, value: object) -> None:
        if (level, name) == (socket.SOL_SOCKET, socket.SO_LINGER):
            self.resets = True

    def close(self) -> None:
        self.closed = True
        self._sock.close()


class MemoryListener:
    """`waiting`: connected sockets, each with its address; `failures`: errors raised, one after
    the other, before a socket is accepted."""

    def __init__(self, address: bytes, port: int) -> None:
        self.name = address + port.to_bytes(2, "big")
        self.waiting: list[tuple[MemoryStream, tuple[str, int] | None]] = []
        self.failures: list[OSError] = []
        self._port = port

    def getsockname(self) -> tuple[str, int]:
        return "", self._port

    def accept(self) -> tuple[MemoryStream, tuple[str, int] | None]:
        if self.failures:
            raise self.failures.pop(0)
        if not self.waiting:
            raise BlockingIOError
        return self.waiting.pop(0)

    def close(self) -> None:
        pass


class MemoryDial:
    """See Dial. The test sets `connected`, or `why` for a failure."""

    source_port = 50000

    def __init__(self, stream: MemoryStream, tcp: MemoryTcp) -> None:
        self.stream = stream
        self.sock = cast(socket.socket, stream)
        self._tcp = tcp

    @property
    def is_connected(self) -> bool:
        return self.stream.connected

    @property
    def failure(self) -> ConnectFailure | None:
        return self.stream.why if self.stream.why.error else None

    def release(self) -> socket.socket:
        return self.sock

    def abandon(self) -> None:
        self._tcp.forget_changes(self.stream)
        reset_on_close(self.sock)
        self.sock.close()


class MemoryTcp:
    """The dials of an outbound, the platform's Streams, and the loop that polls the sockets.

    raises: what the next dial raises. requests: what was dialled, with its socket in `dialled`.
    """

    open_pipe = None
    now = 1.0

    def __init__(self) -> None:
        self.dialled: list[MemoryStream] = []
        self.requests: list[DialRequest] = []
        self.listeners: list[MemoryListener] = []
        self.raises: OSError | None = None
        self.later: list[Callable[[], None]] = []
        self._streams: list[MemoryStream] = []
        self._changed: dict[object, Callable[[int], None]] = {}
        self._readable: dict[object, Callable[[], None]] = {}
        self._ports = count(FIRST_PORT)

    def close(self) -> None:
        """Both ends of every stream."""
        for stream in self._streams:
            stream.close()
            stream.there.close()

    def _stream(self, version: int) -> MemoryStream:
        self._streams.append(MemoryStream(version))
        return self._streams[-1]

    # The outbound

    def dial(self, request: DialRequest, changed: Callable[[int], None]) -> MemoryDial:
        if self.raises is not None:
            raise self.raises
        stream = self._stream(request.version)
        stream.address = (ip.format_address(request.destination), request.port)
        self.requests.append(request)
        self.dialled.append(stream)
        self.watch_changes(stream, changed)
        return MemoryDial(stream, self)

    # The platform

    def listening(self, address: bytes) -> MemoryListener:
        self.listeners.append(MemoryListener(address, next(self._ports)))
        return self.listeners[-1]

    def is_at_mark(self, _sock: MemoryStream) -> bool:
        return False

    def set_traffic_class(self, sock: MemoryStream, traffic_class: int) -> None:
        sock.traffic_classes.append(traffic_class)

    def has_ended(self, sock: MemoryStream) -> bool:
        return sock.has_ended

    def tcp_info(self, sock: MemoryStream) -> TcpInfo:
        return sock.tcp_info

    def probe(self, sock: MemoryStream) -> None:
        sock.probes += 1
        sock.is_probing = True

    start_keepalive = probe

    def stop_keepalive(self, sock: MemoryStream) -> None:
        sock.is_probing = False

    # The loop

    def watch(self, source: HasFileno, readable: Callable[[], None]) -> None:
        self._readable[source] = readable

    def forget(self, source: HasFileno) -> None:
        del self._readable[source]

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.later.append(callback)

    def watch_changes(self, source: HasFileno, changed: Callable[[int], None]) -> None:
        self._changed[source] = changed

    redirect_changes = watch_changes

    def forget_changes(self, source: HasFileno) -> None:
        del self._changed[source]

    def call_soon(self, callback: Callable[[], None]) -> None:
        callback()

    # The test

    def change(self, sock: MemoryStream, event: int = ANY_EVENT) -> None:
        """Report a change of a socket to its watcher."""
        self._changed[sock](event)

    def is_watched(self, sock: MemoryStream) -> bool:
        return sock in self._changed

    def connect(self, listener: MemoryListener, address: tuple[str, int] | None) -> MemoryStream:
        """Our kernel has connected an address to a listener; the socket that is accepted. None: it
        tells none, as macOS may of a connection that was reset before."""
        sock = self.connect_unseen(listener, address)
        self.look_at(listener)
        return sock

    def connect_unseen(
        self, listener: MemoryListener, address: tuple[str, int] | None
    ) -> MemoryStream:
        """The same, before it is reported."""
        sock = self._stream(4 if len(listener.name) == 6 else 6)
        listener.waiting.append((sock, address))
        return sock

    def look_at(self, listener: MemoryListener) -> None:
        """Report a socket as readable; nothing happens while it is not watched."""
        self._readable.get(listener, int)()

    @property
    def watched(self) -> int:
        return len(self._changed)
