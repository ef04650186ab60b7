"""Uploads from the router's machine: some data, and those without an end, by a connection and by
datagrams."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final

from tests.e2e import sockets
from tests.e2e.direct.ends import connection, datagrams
from tests.e2e.direct.forwarding import tun_file
from tests.e2e.tcp_bed import Pair, alongside
from tests.e2e.testbed import Family, Testbed
from tests.e2e.tunrouter import TUN
from tests.e2e.wait import wait_until

SOME: Final = 4 << 20
"""Bytes of which most can be forwarded by the kernel."""

SILENCE_S: Final = 0.5
HEADERS: Final = 40
"""Bytes of the shortest headers of IP and TCP."""
MORE: Final = 16 << 20
"""Bytes that show that an upload goes on: more than buffers hold."""
LONGEST_FRAME: Final = 1 << 16
"""Bytes."""

UDP_SEGMENT: Final = 103
"""linux/udp.h."""
DATAGRAM: Final = 1000
AT_ONCE: Final = 20
PAUSE_S: Final = 0.002
"""That leaves time for others: a sender never stands still, as one of a connection does."""


def upload_some(pair: Pair) -> None:
    with alongside(partial(pair.client.sendall, bytes(SOME))):
        sockets.read(pair.server, SOME)


def wait_until_forwarded(bed: Testbed, pair: Pair) -> None:
    """Sends until an upload passes without a packet to the router."""

    def is_forwarded() -> bool:
        before = bed.router.counter(TUN, "tx_packets")
        upload_some(pair)
        return bed.router.counter(TUN, "tx_packets") == before

    wait_until(is_forwarded, "the upload to be forwarded")


class Upload:
    """Two threads, one that sends and one that receives. received: bytes so far."""

    def __init__(self, pair: Pair) -> None:
        self.received = 0
        self.last_arrival = time.monotonic()
        self._pair = pair
        self._ends = False
        self._threads = [threading.Thread(target=each) for each in (self._send, self._receive)]
        for thread in self._threads:
            thread.start()

    def is_silent(self) -> bool:
        """Whether nothing has arrived for SILENCE_S seconds."""
        return time.monotonic() - self.last_arrival > SILENCE_S

    def wait_for_more(self, size: int = MORE) -> None:
        """Waits until as many bytes more have arrived."""
        enough = self.received + size
        wait_until(lambda: self.received > enough, "the upload to go on")

    def wait_for_segments_of(self, mtu: int) -> None:
        """Waits until the sender knows that packets have at most `mtu` bytes."""
        client = self._pair.client
        wait_until(
            lambda: client.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG) <= mtu - HEADERS,
            "the sender to make shorter segments",
        )

    def close(self) -> None:
        """To be closed by a reset, each end by its own: one that has much to send, to an end that
        is gone, would go on asking for a minute."""
        for sock in (self._pair.client, self._pair.server):
            sock.setblocking(False)
            try:
                sockets.reset_on_close(sock)
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has ended
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        data = bytes(1 << 18)
        try:
            while True:
                self._pair.client.sendall(data)
        except OSError:
            return

    def _receive(self) -> None:
        try:
            while piece := self._pair.server.recv(1 << 18):
                self._note(piece)
        except OSError:
            return

    def _note(self, piece: bytes) -> None:
        self.received += len(piece)
        self.last_arrival = time.monotonic()


def wait_for_more(bed: Testbed, running: Upload, by_sockets: bool) -> None:
    """Waits until an upload has gone on; with `by_sockets` by the router."""
    with tun_file(bed) as file:
        frames = file.passes(running.wait_for_more)
        assert not by_sockets or frames >= MORE // LONGEST_FRAME // 2, frames


class Datagrams(Upload):
    """The same by datagrams of which many are sent at once (UDP_SEGMENT), and may be refused."""

    def _send(self) -> None:
        pause = threading.Event()
        while not self._ends:
            with suppress(OSError):
                self._pair.client.send(bytes(DATAGRAM * AT_ONCE))
            pause.wait(PAUSE_S)

    def _receive(self) -> None:
        while not self._ends:
            with suppress(TimeoutError):
                self._note(self._pair.server.recv(DATAGRAM))

    def close(self) -> None:
        self._ends = True
        for thread in self._threads:
            thread.join()


@contextmanager
def upload_of_datagrams(bed: Testbed, family: Family, address: str) -> Iterator[Datagrams]:
    with datagrams(bed, family, address) as pair:
        pair.client.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, DATAGRAM)
        pair.server.settimeout(SILENCE_S)
        running = Datagrams(pair)
        try:
            yield running
        finally:
            running.close()


@contextmanager
def upload(bed: Testbed, family: Family, address: str) -> Iterator[Upload]:
    with connection(bed, family, address) as pair:
        pair.client.settimeout(None)
        pair.server.settimeout(None)
        running = Upload(pair)
        try:
            yield running
        finally:
            running.close()
