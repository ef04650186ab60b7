"""A SOCKS5 proxy in memory: the test is the proxy and the clock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from router.config.model import Proxy
from router.outbound.base import DialRequest
from router.outbound.descriptors import Descriptors
from router.outbound.socks5.outbound import Socks5Outbound
from router.outbound.socks5.tools import Tools
from router.outbound.socks5.way import ProxyWay
from router.platform.base.tcp import ConnectFailure
from router.platform.host_names import Resolved

ONE, TWO, FAR = bytes((192, 0, 2, 1)), bytes((192, 0, 2, 2)), bytes((198, 51, 100, 7))
CHOSEN, CONNECTED = b"\x05\x00", b"\x05\x00\x00\x01" + bytes(6)
REQUEST = DialRequest(FAR, 443, 63, 0, 4000)


class MemorySocket:
    """What the proxy sends comes in pieces; between them nothing is there to be read."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.incoming = bytearray()
        self.ended = False

    @property
    def sent(self) -> bytes:
        return b"".join(self.messages)

    def send(self, data: bytes) -> int:
        self.messages.append(data)
        return len(data)

    def recv(self, size: int) -> bytes:
        if not self.incoming and not self.ended:
            raise BlockingIOError
        taken = bytes(self.incoming[:size])
        del self.incoming[:size]
        return taken


class MemoryDial:
    """See Dial."""

    source_port = 50000

    def __init__(self, address: bytes, changed: Callable[[int], None]) -> None:
        self.address = address
        self.changed = changed
        self.sock = MemorySocket()
        self.is_connected = False
        self.failure: ConnectFailure | None = None
        self.is_abandoned = False

    def release(self) -> MemorySocket:
        return self.sock

    def abandon(self) -> None:
        self.is_abandoned = True

    def accept(self) -> None:
        self.is_connected = True
        self.changed(1)

    def say(self, data: bytes) -> None:
        self.sock.incoming += data
        self.changed(1)

    def end(self) -> None:
        self.sock.ended = True
        self.changed(1)

    def fail(self, error: int) -> None:
        self.failure = ConnectFailure(error)
        self.changed(1)


class MemoryWay:
    """See ProxyWay. raises: an errno number, of each dial. lost: sockets by which nothing can
    arrive any more."""

    outbound = None

    def __init__(self) -> None:
        self.dials: list[MemoryDial] = []
        self.raises = 0
        self.lost: list[object] = []

    def reaches(self, address: bytes) -> bool:
        return True

    def leaves_by(self, address: bytes) -> str:
        return "eth0"

    def present(self, address: bytes) -> str:
        return "eth0"

    def has_lost(self, sock: object) -> bool:
        return sock in self.lost

    def dial(self, request: DialRequest, changed: Callable[[int], None]) -> MemoryDial:
        self.dials.append(MemoryDial(request.destination, changed))
        if self.raises:
            raise OSError(self.raises, "")
        return self.dials[-1]


class MemoryLoop:
    """Timers alone."""

    def __init__(self) -> None:
        self.now = 0.0
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self._timers.append((self.now + delay, callback))

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.call_later(0, callback)

    @property
    def waiting(self) -> int:
        """How many timers there are."""
        return len(self._timers)

    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((at for at, _ in self._timers if at <= end)):
            self.now = due[0]
            (first,) = [each for each in self._timers if each[0] == due[0]][:1]
            self._timers.remove(first)
            first[1]()
        self.now = end


class MemoryNames:
    """See addresses.Names."""

    def __init__(self, *addresses: bytes) -> None:
        self.found = Resolved(addresses)

    def resolve(self, host: str, done: Callable[[Resolved], None]) -> None:
        done(self.found)


class Bed:
    """An outbound whose proxy the test is."""

    def __init__(self, proxy: Proxy, *addresses: bytes) -> None:
        self.way, self.loop, self.changes = MemoryWay(), MemoryLoop(), 0
        self.names = MemoryNames(*addresses)
        self.descriptors = Descriptors(1000)
        self.free = self.descriptors.free
        tools = Tools(
            *(cast(Any, self.loop), self.descriptors, lambda _: None, self._changed, self.names),
        )
        self.outbound = Socks5Outbound(proxy, cast(ProxyWay, self.way), tools)

    def _changed(self) -> None:
        self.changes += 1

    def dial(self) -> tuple[Any, MemoryDial]:
        """A connection of an application, and what carries it."""
        dial = self.outbound.dial(REQUEST, lambda _: None)
        return dial, self.way.dials[-1]
