"""What moves much is forwarded by the kernel (ADR 035), and both ends see what they see on the bare
path. Where the kernel cannot do that (before Linux 6.6), all of it passes the router, and they see
the same."""

from __future__ import annotations

import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from tempfile import TemporaryFile
from typing import IO, Final

import pytest

from router.platform.linux.only_on_linux import TCP_INFO
from tests.e2e import ping, sockets
from tests.e2e.direct.ends import PATHS, SOURCE, Arrivals, connection, end, source_of
from tests.e2e.direct.forwarding import (
    AT_ONCE,
    FORWARDS,
    SEGMENT,
    SENT_PACKETS,
    SOME,
    TRIES,
    Counters,
    TunFile,
    flow_of_datagrams,
    send_segments,
    transfer,
    tun_file,
)
from tests.e2e.direct.second_gateway import ADDRESS, LINK
from tests.e2e.direct.test_trace import lines_of, tracing
from tests.e2e.processes import Process
from tests.e2e.status import read_status
from tests.e2e.tcp_bed import Pair, alongside
from tests.e2e.testbed import Family, Testbed
from tests.e2e.tunrouter import Tunrouter
from tests.e2e.udp import CLOSED, HOME, OFFICE, RULES, sixteen
from tests.e2e.wait import wait_until
from tests.unit.wire.packets import IP, TCP, IPv6, Packet

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("direct")]

MEGABYTE: Final = 1 << 20
POLICY: Final = {HOME: "home", OFFICE: "office"}
SO_MARK, SO_ZEROCOPY, MSG_ZEROCOPY = 36, 60, 0x4000000
SEGS_OUT, BYTES_SENT = slice(136, 140), slice(200, 208)
"""In struct tcp_info (linux/tcp.h)."""
HEADERS: Final = {4: 52, 6: 72}
"""Bytes of IP and TCP in a segment with timestamps."""
MOST_OPTIONS, SACKS = 28, 100
"""Bytes of more options than those, and in how many segments they are at most."""
BOTH_WAYS = pytest.mark.parametrize("host", [HOME, OFFICE], ids=["home", "vpn"])
BURSTS: Final = 50
_LATER: Final = threading.Event()
Fields = dict[str, int | str]
Options = Sequence[tuple[str, tuple[int, ...]]]
MARK: Final = b"arrives unchanged"


@pytest.fixture
def file(bed: Testbed) -> Iterator[TunFile]:
    with tun_file(bed) as opened:
        yield opened


@contextmanager
def forwarded_connection(bed: Testbed, file: TunFile, family: Family, host: int) -> Iterator[Pair]:
    with connection(bed, family, family.far(host)) as pair:
        pair.client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        file.wait_until_forwarded(partial(send_segments, pair.client, pair.server))
        yield pair


# What is forwarded


@BOTH_WAYS
def test_connections(bed: Testbed, file: TunFile, family: Family, host: int) -> None:
    """In either direction: of a download its acknowledgements."""
    data = random.Random(host).randbytes(2 * MEGABYTE)
    with forwarded_connection(bed, file, family, host) as pair:
        for source, sink in ((pair.client, pair.server), (pair.server, pair.client)):
            transfer(source, sink, data)
        file.wait_until_forwarded(partial(send_segments, pair.client, pair.server))


@BOTH_WAYS
def test_datagrams(bed: Testbed, file: TunFile, family: Family, host: int) -> None:
    """Those that a program sends one by one; in a run the router sends them together."""
    with flow_of_datagrams(bed, family, family.far(host)) as flow:
        file.wait_until_forwarded(flow.send_one_by_one)
        flow.send_some()


@BOTH_WAYS
def test_pings(bed: Testbed, file: TunFile, family: Family, host: int) -> None:
    """A flood of them, of which each is answered."""
    out = Counters(bed.router, SOURCE[host])

    def passing() -> int:
        """Packets that pass the TUN's file while SOME leave by the interface, or more."""
        sent, before = out.read(SENT_PACKETS), file.packets()
        wait_until(lambda: out.read(SENT_PACKETS) - sent >= SOME, "pings to leave")
        return file.packets() - before

    flood = bed.router.start("ping", "-q", "-f", "-i", "0", family.far(host))
    try:
        if FORWARDS:
            wait_until(lambda: passing() < SOME // 10, "pings to be forwarded")
        else:
            assert min(passing() for _ in range(TRIES)) > SOME // 2
        assert flood.stop(signal.SIGINT) == 0
        totals = ping.SUMMARY.search(flood.stdout)
    finally:
        flood.close()
        out.close()
    assert totals
    assert int(totals[1]) - int(totals[2]) <= 1, "the last one"


# What arrives


def header(family: Family, host: int, fields: Fields) -> Packet:
    packet = (IP if family.version == 4 else IPv6)(
        src=source_of(family, host), dst=family.far(host)
    )
    for name, value in fields.items():
        setattr(packet, name, value)
    return packet


def tcp(sport: int, dport: int, flags: str = "A", urgent: int = 0, options: Options = ()) -> Packet:
    packet = TCP(sport=sport, dport=dport, flags=flags, seq=1000, ack=2000, urgptr=urgent)
    packet.options = list(options)
    return packet


OPTIONS: Final[Options] = [("Timestamp", (0x12345678, 0x9ABCDEF0)), ("SAck", (1, 2, 7, 9))]
FIELDS: Final[dict[int, list[Fields]]] = {
    4: [
        {"id": 0x4321, "flags": "DF", "ttl": 64},
        {"id": 0, "flags": "DF", "tos": 0xB8, "ttl": 3},
        {"id": 0xFFFF, "flags": 0, "tos": 0x2D, "ttl": 255},
    ],
    6: [
        {"fl": 0x54321, "hlim": 64},
        {"fl": 0, "tc": 0xB9, "hlim": 3},
        {"fl": 0xFFFFF, "tc": 0x2E, "hlim": 255},
    ],
}
SEGMENTS: Final[list[Callable[[int, int], Packet]]] = [
    tcp,
    partial(tcp, flags="PAEC", options=OPTIONS),
    partial(tcp, flags="AU", urgent=3),
]


class Crafted:
    """Packets between two ports as a raw socket sends them, and as the far host gets them."""

    def __init__(self, bed: Testbed, arrivals: Arrivals, family: Family, host: int) -> None:
        self._arrivals, self._family, self._host = arrivals, family, host
        kind = socket.AF_INET if family.version == 4 else socket.AF_INET6
        self._raw = sockets.within(
            bed.router, lambda: socket.socket(kind, socket.SOCK_RAW, socket.IPPROTO_RAW)
        )
        self._destination = socket.inet_pton(kind, family.far(host))

    def close(self) -> None:
        self._raw.close()

    def packet(self, upper: Packet, fields: Fields) -> bytes:
        return bytes(header(self._family, self._host, fields) / upper / MARK)

    def send(self, packet: bytes) -> None:
        self._raw.sendto(packet, (self._family.far(self._host), 0))

    def send_some(self, packet: bytes) -> None:
        for _ in range(SOME // AT_ONCE):
            for _ in range(AT_ONCE):
                self.send(packet)
            for _ in range(AT_ONCE):
                self.arrived()

    def arrived(self) -> bytes:
        """The next one."""
        found = self._arrivals.wait_for(
            lambda each: MARK in each.data and self._destination in each.data, "the packet"
        )
        return found.data


def parsed(data: bytes) -> Packet:
    return IP(data) if data[0] >> 4 == 4 else IPv6(data)


def without_sums(packet: Packet) -> Packet:
    """They are computed anew."""
    found = packet.copy()
    for layer in (found, found.payload):
        if "chksum" in layer.fields:
            del layer.chksum
    return found


def comparable(data: bytes) -> tuple[int, bytes]:
    """The hop limit, and all that is the same at another far host."""
    packet = parsed(data)
    assert bytes(without_sums(packet)) == data, "the checksums are right"
    names = ("ttl", "192.0.2.99") if packet.version == 4 else ("hlim", "2001:db8::99")
    hops = getattr(packet, names[0])
    setattr(packet, names[0], 1)
    packet.dst = names[1]
    return hops, bytes(without_sums(packet))


@PATHS
def test_segments_arrive_unchanged(
    bed: Testbed, file: TunFile, family: Family, through: int, bare: int
) -> None:
    """But for a hop."""
    with ExitStack() as stack:
        arrivals = stack.enter_context(Arrivals(bed.far))
        ports = (4001, CLOSED)
        ours, kernels = (
            stack.enter_context(closing(Crafted(bed, arrivals, family, host)))
            for host in (through, bare)
        )
        file.wait_until_forwarded(partial(ours.send_some, ours.packet(tcp(*ports), {})))
        for make in SEGMENTS:
            for fields in FIELDS[family.version]:
                seen = []
                for crafted in (ours, kernels):
                    before = file.packets()
                    crafted.send(crafted.packet(make(*ports), fields))
                    seen.append(comparable(crafted.arrived()))
                    passes = crafted is ours and not FORWARDS
                    assert file.packets() - before == passes
                assert (seen[0][0] + 1, seen[0][1]) == seen[1]


@BOTH_WAYS
def test_what_programs_send_in_other_ways(
    bed: Testbed, file: TunFile, family: Family, host: int
) -> None:
    """Without copying, from a file, with a mark, an urgent byte."""
    data = random.Random(7).randbytes(MEGABYTE)
    with forwarded_connection(bed, file, family, host) as pair, TemporaryFile() as stored:
        pair.client.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        received = bytearray()
        with alongside(partial(_send_without_copies, pair.client, data)):
            while len(received) < len(data):
                received += pair.server.recv(1 << 18)
        assert received == data
        stored.write(data)
        received = bytearray()
        with alongside(partial(_send_file, pair.client, stored)):
            while len(received) < len(data):
                received += pair.server.recv(1 << 18)
        assert received == data
        pair.client.setsockopt(socket.SOL_SOCKET, SO_MARK, 7)
        send_segments(pair.client, pair.server)
        pair.client.send(b"before")
        pair.client.send(b"!", socket.MSG_OOB)
        pair.client.send(b"after")
        assert wait_until(partial(_urgent, pair.server), "an urgent byte") == b"!"
        assert pair.server.recv(100) == b"before"
        assert pair.server.recv(5) == b"after"


def _send_without_copies(sock: socket.socket, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[sock.send(view[: 1 << 16], MSG_ZEROCOPY) :]


def _send_file(sock: socket.socket, file: IO[bytes]) -> None:
    sock.sendfile(file, 0)


def _urgent(sock: socket.socket) -> bytes:
    """Nothing as long as none has arrived."""
    try:
        return sock.recv(1, socket.MSG_OOB)
    except OSError:
        return b""


@PATHS
def test_ends_of_connections(
    bed: Testbed, file: TunFile, family: Family, through: int, bare: int
) -> None:
    """One direction after the other, a reset, and another connection between the same ports."""
    with sockets.listener(bed.far) as listener:
        to = family.far(through), sockets.port_of(listener)
        client = sockets.connected(bed.router, family, *to)
        server = listener.accept()[0]
        own = client.getsockname()
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        file.wait_until_forwarded(partial(send_segments, client, server))
        sockets.reset(server)
        with pytest.raises(ConnectionResetError):
            while True:
                client.send(b"to nobody")
        client.close()
        client = sockets.stream(bed.router, family)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(own)
        sockets.connect(client, to)
        server, peer = listener.accept()
        assert end(peer) == end(own)
        with client, server:
            server.settimeout(20)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            file.wait_until_forwarded(partial(send_segments, client, server))
            transfer(client, server, bytes(MEGABYTE))
            client.shutdown(socket.SHUT_WR)
            assert sockets.read_to_end(server) == b""
            transfer(server, client, bytes(MEGABYTE))
            server.close()
            assert sockets.read_to_end(client) == b""


@BOTH_WAYS
def test_no_datagram_overtakes_another(
    bed: Testbed, file: TunFile, family: Family, host: int
) -> None:
    """Neither when forwarding begins nor around those that are sent in fragments, which the router
    sends."""
    single, together, fragments = 100, 0, 3000
    with flow_of_datagrams(bed, family, family.far(host)) as flow:
        flow.server.settimeout(0.2)
        arrived = bytearray()
        with alongside(partial(_receive_numbers, flow.server, arrived)):
            for number in range(BURSTS * AT_ONCE):
                kind = (together, single, together, fragments)[number % 4]
                data = [(2 * number + each).to_bytes(4, "big") for each in range(2)]
                if kind == together:
                    flow.send_together(b"".join(each.ljust(100) for each in data), 100)
                else:
                    flow.client.send(data[0].ljust(kind))
                if number % AT_ONCE == 0:
                    _LATER.wait(0.001)
    numbers = list(memoryview(bytes(arrived)).cast("I"))
    assert numbers == sorted(numbers)
    assert len(numbers) > BURSTS


def _receive_numbers(sock: socket.socket, arrived: bytearray) -> None:
    """Until nothing more comes."""
    with suppress(TimeoutError):
        while True:
            arrived += int.from_bytes(sock.recv(4)).to_bytes(4, sys.byteorder)


# What is told of it


@BOTH_WAYS
def test_counts(bed: Testbed, file: TunFile, family: Family, host: int) -> None:
    """Segments as the system counts them, each with its headers."""

    def counted() -> tuple[int, int]:
        policy = read_status(bed.router)["policies"][POLICY[host]]
        return policy["packets_out"], policy["bytes_out"]

    before = counted()
    with forwarded_connection(bed, file, family, host) as pair:
        transfer(pair.client, pair.server, bytes(MEGABYTE))
        info = pair.client.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 256)
        segments = int.from_bytes(info[SEGS_OUT], sys.byteorder)
        sent = int.from_bytes(info[BYTES_SENT], sys.byteorder)
        packets, size = (now - then for now, then in zip(counted(), before, strict=True))
    assert packets == segments
    more = size - sent - segments * HEADERS[family.version]
    assert 0 < more <= MOST_OPTIONS * SACKS, "of the request, and of what was lost"


def test_a_trace_that_begins_meanwhile(bed: Testbed, file: TunFile, family: Family) -> None:
    """It shows all that is sent from then on."""
    with forwarded_connection(bed, file, family, HOME) as pair:
        send = partial(send_segments, pair.client, pair.server)
        words = "tcp", "and", "port", str(sockets.port_of(pair.server))
        with tracing(bed, "--json", *words) as trace:
            send()
            wait_until(lambda: _segments_in(trace) >= SOME, "all segments", detail=trace.report)
            assert trace.stop(signal.SIGINT) == 0
            assert _segments_in(trace) == SOME
        file.wait_until_forwarded(send)


def _segments_in(trace: Process) -> int:
    """Those with data."""
    return sum(line["direction"] == "out" and line["length"] > SEGMENT for line in lines_of(trace))


# What changes


def test_another_policy(bed: Testbed, direct: Tunrouter, file: TunFile, family: Family) -> None:
    """Nothing changes by a reload but what the rules say: then the program is told at once."""
    moved = f'"{sixteen(family, HOME)}", policy: '
    with forwarded_connection(bed, file, family, HOME) as pair, ExitStack() as stack:
        stack.callback(direct.reload, RULES)
        assert direct.reload(RULES).startswith("reloaded")
        file.wait_until_forwarded(partial(send_segments, pair.client, pair.server))
        assert direct.reload(RULES.replace(f"{moved}home", f"{moved}office")).startswith("reloaded")
        pair.client.send(b"by neither")
        with pytest.raises(ConnectionResetError):
            pair.client.recv(1)
        pair.server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            pair.server.recv(1)


def test_the_next_hop_changes(
    bed: Testbed, file: TunFile, other_gateway: None, family: Family
) -> None:
    with forwarded_connection(bed, file, family, HOME) as pair:
        send = partial(send_segments, pair.client, pair.server)

        def goes_by_it() -> bool:
            before = bed.gw.counter(LINK, "rx_packets")
            send()
            return bed.gw.counter(LINK, "rx_packets") - before >= SOME

        assert not goes_by_it()
        bed.router.ip(f"route replace default via {ADDRESS[family.version]} dev eth0")
        wait_until(goes_by_it, "the other gateway")
        file.wait_until_forwarded(send)
        assert goes_by_it()
