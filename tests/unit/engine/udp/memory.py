"""UDP sockets in memory: they record what is sent and return what a test puts in."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from ipaddress import ip_address
from itertools import count
from typing import NamedTuple

from router.engine.udp.sockets import MappingSockets
from router.outbound.descriptors import Descriptors
from router.platform.base.descriptors import Bytes, HasFileno
from router.platform.base.sockets import Arrived, NetworkError
from router.policy.network import Interface

Address = tuple[str, int]


def received(
    payload: bytes, sender: Address, hop_limit: int = 60, traffic_class: int = 0
) -> Arrived:
    """One datagram as a socket of this module gives it."""
    return run([payload], sender, hop_limit, traffic_class)


def run(
    payloads: Sequence[bytes], sender: Address, hop_limit: int = 60, traffic_class: int = 0
) -> Arrived:
    """Several that arrived together."""
    name = ip_address(sender[0]).packed + sender[1].to_bytes(2, "big")
    return Arrived(name, [memoryview(one) for one in payloads], hop_limit, traffic_class)


AT_ONCE = 64
"""Datagrams that one call gives."""


class Sent(NamedTuple):
    """One datagram, and what it was sent with."""

    payload: bytes
    address: Address
    hop_limit: int
    traffic_class: int
    dont_fragment: bool


class MemoryUdpSocket:
    """See DatagramSocket. `raises` are the errors of the next sends, in order."""

    most_segments = 64

    def __init__(self, number: int, source: bytes, interface: str, port: int) -> None:
        self.source = source
        self.interface = interface
        self.port = port
        self.sent: list[Sent] = []
        self.runs: list[int] = []
        self.incoming: list[Arrived | OSError] = []
        self.queue: list[NetworkError] = []
        self.raises: list[OSError] = []
        self.closed = False
        self._number = number
        self._with = {"hop_limit": 0, "traffic_class": 0, "dont_fragment": 0}

    def fileno(self) -> int:
        return self._number

    def send(self, payload: Bytes, address: Address, /) -> None:
        self._send([bytes(payload)], address)

    def send_run(self, payloads: Bytes, size: int, address: Address, /) -> None:
        whole = bytes(payloads)
        assert 0 < size < len(whole)
        self._send([whole[at : at + size] for at in range(0, len(whole), size)], address)

    def _send(self, payloads: Sequence[bytes], address: Address) -> None:
        assert not self.closed
        if self.raises:
            raise self.raises.pop(0)
        self.runs.append(len(payloads))
        hop_limit, traffic_class, dont_fragment = self._with.values()
        for payload in payloads:
            self.sent.append(Sent(payload, address, hop_limit, traffic_class, bool(dont_fragment)))

    def receive(self) -> Sequence[Arrived]:
        if not self.incoming:
            raise BlockingIOError
        if isinstance(self.incoming[0], OSError):
            raise self.incoming.pop(0)  # type: ignore[misc]
        arrived = [one for one in self.incoming if isinstance(one, Arrived)][:AT_ONCE]
        self.incoming = self.incoming[len(arrived) :]
        return arrived

    def endpoint(self, sender: bytes) -> tuple[bytes, int]:
        return sender[:-2], int.from_bytes(sender[-2:], "big")

    def errors(self) -> Iterator[NetworkError]:
        while self.queue:
            yield self.queue.pop(0)

    def set_hop_limit(self, hop_limit: int) -> None:
        assert 1 <= hop_limit <= 255
        self._with["hop_limit"] = hop_limit

    def set_traffic_class(self, traffic_class: int) -> None:
        self._with["traffic_class"] = traffic_class

    def set_dont_fragment(self, dont_fragment: bool) -> None:
        self._with["dont_fragment"] = dont_fragment

    def close(self) -> None:
        self.closed = True


class MemorySystem:
    """See OpensUdp. `taken` are ports in use by other programs; `raises` the error of the next."""

    def __init__(self) -> None:
        self.sockets: list[MemoryUdpSocket] = []
        self.taken: set[int] = set()
        self.raises: OSError | None = None
        self.readers: dict[int, Callable[[float], None]] = {}
        self._numbers = count(100)

    def udp_socket(
        self, version: int, interface: Interface, source: bytes, port: int
    ) -> MemoryUdpSocket:
        if self.raises:
            error, self.raises = self.raises, None
            raise error
        if port in self.taken or any(
            (sock.source, sock.interface, sock.port) == (source, interface.name, port)
            for sock in self.open
        ):
            raise OSError(errno.EADDRINUSE, "in use")
        sock = MemoryUdpSocket(next(self._numbers), source, interface.name, port)
        self.sockets.append(sock)
        return sock

    @property
    def open(self) -> list[MemoryUdpSocket]:
        return [sock for sock in self.sockets if not sock.closed]

    def watch(self, source: HasFileno, readable: Callable[[float], None]) -> None:
        self.readers[source.fileno()] = readable

    def forget(self, source: HasFileno) -> None:
        del self.readers[source.fileno()]


def mapping_sockets(system: MemorySystem, limit: int = 100) -> MappingSockets:
    return MappingSockets(system.watch, system.forget, limit, Descriptors(2 * limit))
