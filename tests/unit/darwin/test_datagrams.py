"""UDP sockets of xnu: their options, what arrives with a datagram, and by which interface.

On loopback they are sockets of Linux that take xnu's options, see xnu_sockets.
"""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from router.platform.darwin.arrival import interface_of
from router.platform.darwin.datagrams import DarwinDatagramSocket, udp_socket
from router.policy.network import Interface
from tests.unit.darwin import layouts
from tests.unit.darwin.xnu_sockets import OPEN

INDEX, NAME = socket.if_nameindex()[0]
LOOPBACK = Interface(NAME, INDEX, up=True, mtu=65536, addresses=())
ADDRESS = {4: "127.0.0.1", 6: "::1"}
PACKED = {4: bytes((127, 0, 0, 1)), 6: bytes(15) + b"\1"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
BOUND = 10.0


class Recorded:
    """A socket that keeps what was set and where it was bound, by xnu's numbers."""

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        self.made = family, kind, protocol
        self.set: dict[tuple[int, int], int] = {}
        self.bound: Any = None
        self.blocks = True
        self.fileno = lambda: 7
        self.setblocking = lambda flag: setattr(self, "blocks", flag)
        self.bind = lambda address: setattr(self, "bound", address)
        self.close = lambda: None
        self.sendto = None

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self.set[level, option] = value

    def __enter__(self) -> Recorded:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("version", "levels"),
    [
        (4, {(0, 25), (0, 24), (0, 26), (0, 27)}),
        (6, {(41, 125), (41, 27), (41, 35), (41, 37), (41, 61)}),
    ],
)
def test_the_options_of_a_socket(version: int, levels: set[tuple[int, int]]) -> None:
    """Bound to the interface, with hop limit, traffic class and interface of what arrives."""
    made: list[Any] = []

    def open_socket(family: int, kind: int, protocol: int) -> Any:
        made.append(Recorded(family, kind, protocol))
        return made[-1]

    interface = Interface("en0", 4, up=True, mtu=1500, addresses=())
    udp_socket(open_socket, version, interface, PACKED[version], 5000)
    probe, sock = made
    assert sock.made == probe.made == (FAMILY[version], socket.SOCK_DGRAM, 17)
    buffers = {(socket.SOL_SOCKET, socket.SO_RCVBUF), (socket.SOL_SOCKET, socket.SO_SNDBUF)}
    assert sock.set.keys() == levels | buffers
    bound = next(each for each in levels if each[1] in (25, 125))
    assert sock.set[bound] == probe.set[bound] == 4
    assert sock.set[socket.SOL_SOCKET, socket.SO_SNDBUF] > 65535
    assert (sock.bound, probe.bound) == ((ADDRESS[version], 5000), ("", 5000))
    assert not sock.blocks


@pytest.fixture(params=[4, 6])
def version(request: pytest.FixtureRequest) -> int:
    found: int = request.param
    return found


@pytest.fixture
def far(version: int) -> Iterator[socket.socket]:
    with OPEN(FAMILY[version], socket.SOCK_DGRAM, socket.IPPROTO_UDP) as sock:
        sock.bind((ADDRESS[version], 0))
        sock.settimeout(BOUND)
        yield sock


@pytest.fixture
def ours(version: int) -> Iterator[DarwinDatagramSocket]:
    found = udp_socket(OPEN, version, LOOPBACK, PACKED[version], free_port(version))
    yield found
    found.close()


def free_port(version: int) -> int:
    with socket.socket(FAMILY[version], socket.SOCK_DGRAM) as sock:
        sock.bind(("", 0))
        port: int = sock.getsockname()[1]
        return port


def name_of(sock: DarwinDatagramSocket) -> tuple[str, int]:
    host, port, *_ = sock._socket.getsockname()
    return host, port


def readable(sock: DarwinDatagramSocket) -> None:
    assert select.select([sock], [], [], BOUND)[0]


def test_what_arrives(far: socket.socket, ours: DarwinDatagramSocket, version: int) -> None:
    level, hops, tos = (0, 4, 3) if version == 4 else (41, 4, 36)
    far.setsockopt(level, hops, 33)
    far.setsockopt(level, tos, 0xB8)
    for payload in (b"one", b"", bytes(9000)):
        far.sendto(payload, name_of(ours))
    readable(ours)
    found = ours.receive()
    assert [bytes(each.payloads[0]) for each in found] == [b"one", b"", bytes(9000)]
    assert {(each.hop_limit, each.traffic_class) for each in found} == {(33, 0xB8)}
    (sender,) = {each.sender for each in found}
    assert ours.endpoint(sender) == (PACKED[version], far.getsockname()[1])
    with pytest.raises(BlockingIOError):
        ours.receive()
    assert not list(ours.errors())


def test_what_is_sent(far: socket.socket, ours: DarwinDatagramSocket, version: int) -> None:
    level, hops, tos = (0, 24, 27) if version == 4 else (41, 37, 35)
    far.setsockopt(level, hops, 1)
    far.setsockopt(level, tos, 1)
    ours.set_hop_limit(7)
    ours.set_traffic_class(0x48)
    for wanted in (True, False):
        ours.set_dont_fragment(wanted)
        ours.send(b"a question", far.getsockname()[:2])
    for _ in range(2):
        data = bytearray(100)
        size, ancillary, _, sender = far.recvmsg_into([data], 100)
        assert (bytes(data[:size]), sender[:2]) == (b"a question", name_of(ours))
        assert {value[0] for _, _, value in ancillary} == {7, 0x48}


def test_several_are_sent_one_by_one(far: socket.socket, ours: DarwinDatagramSocket) -> None:
    assert ours.most_segments == 1
    ours.send_run(b"aabbc", 2, far.getsockname()[:2])
    assert [far.recv(10) for _ in range(3)] == [b"aa", b"bb", b"c"]


@pytest.mark.parametrize("where", ["127.0.0.1", ""])
def test_a_port_that_any_program_has_is_not_free(where: str) -> None:
    """At another address too: the source of the mapping is unspecified here, or it is not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        program.bind((where, 0))
        with pytest.raises(OSError) as refused:
            udp_socket(OPEN, 4, LOOPBACK, bytes((127, 0, 0, 2)), program.getsockname()[1])
        assert refused.value.errno == errno.EADDRINUSE


class Arriving(socket.socket):
    """A socket whose datagrams begin with the index of the interface that they arrive by."""

    def recvmsg_into(self, buffers: Any, size: int = 0, flags: int = 0) -> Any:
        frame = super().recv(65535)
        info = layouts.InPktinfo(ipi_ifindex=frame[0])
        buffers[0][: len(frame) - 1] = frame[1:]
        control = [(0, 24, b"\x40"), (0, 26, bytes(info)), (0, 27, b"\0")]
        return len(frame) - 1, control if frame[0] else [], 0, ("192.0.2.9", 53)


def test_what_has_arrived_by_another_interface_is_discarded() -> None:
    kernel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    arriving = Arriving(other.family, other.type, fileno=other.detach())
    arriving.setblocking(False)
    ours = DarwinDatagramSocket(4, arriving, 4)
    with kernel, arriving:
        for index in (5, 4, 0, 4):
            kernel.send(bytes([index, 65 + index]))
        assert [bytes(each.payloads[0]) for each in ours.receive()] == [b"E", b"E"]
        kernel.send(b"\5F")
        with pytest.raises(BlockingIOError):
            ours.receive()


def test_the_interface_of_a_datagram() -> None:
    """struct in_pktinfo (netinet/in.h:654), struct in6_pktinfo (netinet6/in6.h:681)."""
    assert (
        interface_of([(0, 24, b"\x40"), (0, 26, bytes(layouts.InPktinfo(ipi_ifindex=258)))]) == 258
    )
    assert interface_of([(41, 46, bytes(layouts.In6Pktinfo(ipi6_ifindex=258)))]) == 258
    assert interface_of([(0, 26, b"\1"), (41, 46, bytes(16)), (41, 26, bytes(12))]) == 0
