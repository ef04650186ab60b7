"""Flows that the kernel forwards, so that they pass the TUN's file no more; where it cannot, they
all do."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.e2e import sockets
from tests.e2e.direct.ends import connection, datagrams
from tests.e2e.netns import Namespace
from tests.e2e.tcp_bed import Pair, alongside
from tests.e2e.testbed import Family, Testbed
from tests.e2e.tunrouter import TUN
from tests.e2e.wait import wait_until

FORWARDS: Final = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 6)
"""Whether the kernel has tcx."""
TRIES: Final = 5
SOME: Final = 200
"""Packets, of which a tenth at most are others."""
SENT_PACKETS, SENT_BYTES = 10, 9
"""Columns of /proc/net/dev: what an interface has sent. Of the TUN, what has been read from its
file: what the kernel forwards is none of that."""
AT_ONCE: Final = 20
UDP_SEGMENT: Final = 103
"""linux/udp.h."""
PATIENT_BUFFER: Final = 8 << 20
SO_RCVBUFFORCE: Final = 33
SO_MARK: Final = 36
SEGS_OUT: Final = slice(136, 140)
"""In struct tcp_info (linux/tcp.h)."""
MEGABYTE: Final = bytes(1 << 20)


class Counters:
    """Of an interface, as often as needed."""

    def __init__(self, namespace: Namespace, interface: str) -> None:
        self._line = f"{interface}:"
        devices = Path("/proc/thread-self/net/dev")
        self._devices = sockets.within(namespace, devices.open)

    def read(self, column: int) -> int:
        self._devices.seek(0)
        [line] = (each for each in self._devices if each.split()[0] == self._line)
        return int(line.split()[column])

    def close(self) -> None:
        self._devices.close()


class TunFile:
    """What passes it."""

    def __init__(self, bed: Testbed) -> None:
        self._counters = Counters(bed.router, TUN)

    def packets(self) -> int:
        return self._counters.read(SENT_PACKETS)

    def close(self) -> None:
        self._counters.close()

    def passes(self, send: Callable[[], object]) -> int:
        """How many packets do while something is sent, and has arrived."""
        before = self.packets()
        send()
        return self.packets() - before

    def wait_until_forwarded(self, send: Callable[[], object]) -> None:
        """send: SOME packets of a flow, until they have arrived."""
        if FORWARDS:
            wait_until(lambda: self.passes(send) < SOME // 10, "the kernel to forward the flow")
        else:
            assert min(self.passes(send) for _ in range(TRIES)) >= SOME, "all pass the file"

    def wait_until_read(self, send: Callable[[], object]) -> None:
        """Until the router has all packets again."""
        wait_until(lambda: self.passes(send) >= SOME, "the flow to pass the router")


@contextmanager
def tun_file(bed: Testbed) -> Iterator[TunFile]:
    opened = TunFile(bed)
    try:
        yield opened
    finally:
        opened.close()


class Datagrams:
    """A flow of UDP from the router's machine, as a program sends it."""

    def __init__(self, pair: Pair) -> None:
        self.client, self.server = pair.client, pair.server
        self.server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, PATIENT_BUFFER)

    def send_together(self, data: bytes, size: int) -> None:
        """Datagrams of as many bytes each, as one (UDP_SEGMENT)."""
        segment = (socket.IPPROTO_UDP, UDP_SEGMENT, size.to_bytes(2, sys.byteorder))
        self.client.sendmsg([data], [segment])

    def send_some(self, size: int = 100) -> None:
        """SOME times two that are sent together, until they have arrived as they were sent."""
        for first in range(0, SOME, AT_ONCE):
            numbers = range(2 * first, 2 * (first + AT_ONCE))
            sent = [number.to_bytes(4, "big").ljust(size) for number in numbers]
            for number in range(0, 2 * AT_ONCE, 2):
                self.send_together(sent[number] + sent[number + 1], size)
            assert [self.server.recv(1 << 16) for _ in sent] == sent

    def send_one_by_one(self) -> None:
        """SOME, of which each has arrived before the next one is sent."""
        for number in range(SOME):
            sent = number.to_bytes(4, "big").ljust(100)
            self.client.send(sent)
            assert self.server.recv(1 << 16) == sent


@contextmanager
def flow_of_datagrams(bed: Testbed, family: Family, address: str) -> Iterator[Datagrams]:
    with datagrams(bed, family, address) as pair:
        yield Datagrams(pair)


def transfer(source: socket.socket, sink: socket.socket, data: bytes) -> None:
    """All of it, until it has arrived as it was sent."""
    received = bytearray()

    def send() -> None:
        source.sendall(data)

    with alongside(send):
        while len(received) < len(data):
            piece = sink.recv(1 << 18)
            assert piece, "an early end"
            received += piece
    assert received == data


SEGMENT: Final = 1000
"""Bytes."""


def send_segments(source: socket.socket, sink: socket.socket) -> None:
    """SOME segments, of which each has arrived before the next one is sent."""
    for number in range(SOME):
        data = number.to_bytes(4, "big") * (SEGMENT // 4)
        source.sendall(data)
        received = b""
        while len(received) < SEGMENT:
            received += sink.recv(SEGMENT)
        assert received == data


class Flows(NamedTuple):
    """A connection and datagrams from the router's machine to a far host."""

    pair: Pair
    flow: Datagrams

    def send_segments(self) -> None:
        send_segments(self.pair.client, self.pair.server)

    def transfer(self) -> None:
        transfer(self.pair.client, self.pair.server, MEGABYTE)

    def send_everything(self) -> None:
        """One by one, and what the system has yet to cut."""
        self.send_segments()
        self.transfer()
        self.flow.send_one_by_one()
        self.flow.send_some()

    def wait_until_forwarded(self, file: TunFile) -> None:
        file.wait_until_forwarded(self.send_segments)
        file.wait_until_forwarded(self.flow.send_one_by_one)

    def set(self, option: int, value: int) -> None:
        for client in (self.pair.client, self.flow.client):
            client.setsockopt(socket.SOL_SOCKET, option, value)


@contextmanager
def flows(bed: Testbed, family: Family, address: str) -> Iterator[Flows]:
    with (
        connection(bed, family, address) as pair,
        flow_of_datagrams(bed, family, address) as flow,
    ):
        pair.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Flows(pair, flow)
