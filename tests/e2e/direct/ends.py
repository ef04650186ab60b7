"""What both ends of a flow see: connections and datagrams from the router's own machine, and the
packets as they arrive at the far host."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import pytest

from router.platform.linux.only_on_linux import AF_PACKET
from tests.e2e import sockets
from tests.e2e.netns import Namespace
from tests.e2e.tcp_bed import Pair
from tests.e2e.testbed import Family, Testbed
from tests.e2e.udp import BARE, BARE_OFFICE, HOME, OFFICE
from tests.e2e.wait import BOUND_S, wait_until

PATHS = pytest.mark.parametrize(
    ("through", "bare"), [(HOME, BARE), (OFFICE, BARE_OFFICE)], ids=["home", "vpn"]
)
"""The far hosts by the router, and those by the kernel alone to compare with."""
SOURCE: Final = {HOME: "eth0", BARE: "eth0", OFFICE: "wg0", BARE_OFFICE: "wg0"}
ETH_P_ALL: Final = 3
PACKET_OUTGOING: Final = 4
BUFFER: Final = 16 << 20
MSG_TRUNC: Final = socket.MSG_TRUNC
"""A received packet's whole length is returned, however little is kept (packet(7))."""


def source_of(family: Family, host: int) -> str:
    """The address that the far host sees."""
    address: str = getattr(family, SOURCE[host])
    return address


@contextmanager
def connection(bed: Testbed, family: Family, address: str) -> Iterator[Pair]:
    """From a program on the router's machine."""
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        pair = Pair(sockets.connected(bed.router, family, address, port), listener.accept()[0])
        pair.server.settimeout(BOUND_S)
        try:
            yield pair
        finally:
            pair.close()


def end(address: tuple[str, int]) -> tuple[str, int]:
    """Address and port, of a socket that may be one of both families."""
    return address[0].removeprefix("::ffff:"), address[1]


def is_direct(bed: Testbed, family: Family, address: str) -> bool:
    """Whether a connection keeps its address and port."""
    with connection(bed, family, address) as pair:
        return end(pair.client.getsockname()) == end(pair.server.getpeername())


@contextmanager
def datagrams(bed: Testbed, family: Family, address: str) -> Iterator[Pair]:
    """UDP sockets of both ends; that of the router's machine is connected."""
    server = sockets.datagram(bed.far, family)
    sockets.bind_foreign(server, family, address)
    client = sockets.datagram(bed.router, family)
    client.connect((address, sockets.port_of(server)))
    pair = Pair(client, server)
    try:
        yield pair
    finally:
        pair.close()


class Arrival(NamedTuple):
    """An IP packet that has come in by an interface."""

    interface: str
    data: bytes

    @property
    def hop_limit(self) -> int:
        return self.data[8 if self.data[0] >> 4 == 4 else 7]

    @property
    def traffic_class(self) -> int:
        return (
            (int.from_bytes(self.data[:2]) >> 4) & 0xFF if self.data[0] >> 4 == 6 else self.data[1]
        )

    @property
    def protocol(self) -> int:
        return self.data[9 if self.data[0] >> 4 == 4 else 6]

    @property
    def payload(self) -> bytes:
        return self.data[(self.data[0] & 15) * 4 if self.data[0] >> 4 == 4 else 40 :]


def packet_socket(namespace: Namespace) -> socket.socket:
    """Hears all that comes in and goes out, from the IP header on."""

    def make() -> socket.socket:
        sock = socket.socket(AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        sock.setblocking(False)
        return sock

    return sockets.within(namespace, make)


class LinkArrivals:
    """The frames that come in to a namespace from when it is made on."""

    def __init__(self, namespace: Namespace) -> None:
        self._sock = packet_socket(namespace)

    def __enter__(self) -> LinkArrivals:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def wait_for_frame(self, source: str, *, longer_than: int) -> None:
        """One from a link address, of more bytes of IP than that."""
        wanted = bytes.fromhex(source.replace(":", ""))
        wait_until(lambda: self._has(wanted, longer_than), f"a long frame from {source}")

    def _has(self, source: bytes, size: int) -> bool:
        while True:
            try:
                length, _, _, (_, _, kind, _, sender) = self._sock.recvmsg_into([], 0, MSG_TRUNC)
            except BlockingIOError:
                return False
            if kind != PACKET_OUTGOING and sender == source and length > size:
                return True


class Arrivals:
    """The packets that come in to a namespace from when it is made on."""

    def __init__(self, namespace: Namespace) -> None:
        self._sock = packet_socket(namespace)

    def __enter__(self) -> Arrivals:
        return self

    def __exit__(self, *_: object) -> None:
        self._sock.close()

    def wait_for(self, wanted: Callable[[Arrival], bool], what: str) -> Arrival:
        """The next packet that is wanted; those before it are not seen again."""
        found = wait_until(lambda: self._next(wanted), what)
        assert found
        return found

    def _next(self, wanted: Callable[[Arrival], bool]) -> Arrival | None:
        while True:
            try:
                data, (interface, _, kind, *_) = self._sock.recvfrom(65_535)
            except BlockingIOError:
                return None
            found = Arrival(interface, data)
            if kind != PACKET_OUTGOING and data[0] >> 4 in (4, 6) and wanted(found):
                return found
