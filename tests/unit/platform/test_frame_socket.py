"""Frames with a virtio-net header as the packet socket gets them: with a link header, without."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from struct import pack

import pytest

from router.platform.linux import frame_socket
from router.platform.linux.frame_socket import (
    ARPHRD_ETHER,
    ARPHRD_NONE,
    HARDWARE,
    Link,
    LinuxFrameSocket,
    link_of,
)
from router.platform.linux.netlink.route_lookup import Answer, RouteLookup
from router.wire import offload
from tests.unit.wire.packets import IP, TCP, IPv6, Packet

Ether = pytest.importorskip("scapy.layers.l2").Ether

INDEX = 7
OWN, PEER, OTHER = (bytes.fromhex(f"02000000000{number}") for number in (1, 2, 3))
GATEWAY = {4: bytes([192, 0, 2, 1]), 6: bytes.fromhex("fe80" + "00" * 13 + "01")}
SOURCE = {4: bytes([192, 0, 2, 2]), 6: bytes.fromhex("20010db8" + "00" * 11 + "02")}
FAR = {4: bytes([198, 51, 100, 1]), 6: bytes.fromhex("20010db8" + "00" * 11 + "09")}
BOTH = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    right.setblocking(False)
    with left, right:
        yield left, right


def never(_interface: int, _neighbour: bytes) -> None:
    """In the place of Resolve."""
    raise AssertionError("nothing is to be resolved")


class Kernel:
    """What the kernel answers about routes and neighbours; the questions are counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.interface = INDEX
        self.interface_with_source = INDEX
        self.gateway: bytes | None = None
        self.neighbours: dict[bytes, bytes] = {}
        self.link: Link | None = Link(True, OWN)
        self.questions = 0
        monkeypatch.setattr(RouteLookup, "ask", self._ask)
        monkeypatch.setattr(frame_socket, "link_address", self._link_address)
        monkeypatch.setattr(frame_socket, "present_link", self._link)

    def _ask(self, version: int, destination: bytes, **wanted: object) -> Answer | None:
        self.questions += 1
        found = self.interface_with_source if wanted["source"] else self.interface
        values = dict.fromkeys(Answer._fields) | {"interface": found, "gateway": self.gateway}
        return Answer(**values)  # type: ignore[arg-type]

    def _link(self, interface: int) -> Link | None:
        assert interface == INDEX
        return self.link

    def _link_address(self, interface: int, neighbour: bytes) -> bytes | None:
        assert interface == INDEX
        return self.neighbours.get(neighbour)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    return Kernel(monkeypatch)


def frame(version: int) -> tuple[memoryview, int, Packet]:
    """The buffer of a TUN with a frame, its size, and the packet in it."""
    six = IPv6(src="2001:db8::2", dst="2001:db8::9")
    header = IP(src="192.0.2.2", dst="198.51.100.1") if version == 4 else six
    packet = header / TCP(flags="A") / bytes(3000)
    start = 20 if version == 4 else 40
    kind = offload.SEGMENT_TCP_V4 if version == 4 else offload.SEGMENT_TCP_V6
    fields = offload.FIELDS.pack(1, kind, start + 20, 1000, start, 16)
    data = fields + bytes(packet)
    return memoryview(bytearray(data + b"of the frame before")), len(data), packet


@BOTH
def test_a_link_without_a_header(
    pair: tuple[socket.socket, socket.socket], kernel: Kernel, version: int
) -> None:
    sender = LinuxFrameSocket(
        pair[0], version, INDEX, SOURCE[version], Link(False, bytes(6)), never
    )
    data, size, _ = frame(version)
    for _ in range(2):
        assert sender.send(data, size, FAR[version])
        assert pair[1].recv(70_000) == data[:size]
    assert kernel.questions == 0


@BOTH
@pytest.mark.parametrize("on_link", [False, True], ids=["gateway", "on-link"])
def test_an_ethernet_header(
    pair: tuple[socket.socket, socket.socket], kernel: Kernel, version: int, on_link: bool
) -> None:
    kernel.gateway = None if on_link else GATEWAY[version]
    kernel.neighbours = {(FAR if on_link else GATEWAY)[version]: PEER}
    sender = LinuxFrameSocket(pair[0], version, INDEX, SOURCE[version], Link(True, OWN), never)
    data, size, packet = frame(version)
    for _ in range(2):
        assert sender.send(data, size, FAR[version])
        received = pair[1].recv(70_000)
        given = offload.FIELDS.unpack_from(data)
        flags, kind, length, segment, start, offset = offload.FIELDS.unpack_from(received)
        assert (flags, kind, segment, offset) == (given[0], given[1], given[3], given[5])
        assert (length - given[2], start - given[4]) == (14, 14)
        expected = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / packet
        assert received[offload.HEADER :] == bytes(expected)
        assert data[:size] == frame(version)[0][:size], "the frame itself is as it was"
    assert kernel.questions == 1


@BOTH
def test_a_next_hop_that_is_not_resolved(
    pair: tuple[socket.socket, socket.socket], kernel: Kernel, version: int
) -> None:
    kernel.gateway = GATEWAY[version]
    sender = LinuxFrameSocket(pair[0], version, INDEX, SOURCE[version], Link(True, OWN), never)
    data, size, _ = frame(version)
    assert not sender.send(data, size, FAR[version])
    kernel.neighbours = {GATEWAY[version]: PEER}
    assert sender.send(data, size, FAR[version])


@BOTH
def test_a_next_hop_is_asked_for_again(
    pair: tuple[socket.socket, socket.socket], kernel: Kernel, version: int
) -> None:
    kernel.neighbours = {FAR[version]: PEER}
    sender = LinuxFrameSocket(pair[0], version, INDEX, SOURCE[version], Link(True, OWN), never)
    data, size, _ = frame(version)
    sender.send(data, size, FAR[version])
    kernel.neighbours = {FAR[version]: OWN}
    sender.send(data, size, FAR[version])
    sender.forget_next_hops()
    sender.send(data, size, FAR[version])
    addresses = [pair[1].recv(70_000)[offload.HEADER :][:6] for _ in range(3)]
    assert addresses == [PEER, PEER, OWN]


def test_the_interfaces_own_link_address_is_asked_for_again(
    pair: tuple[socket.socket, socket.socket], kernel: Kernel
) -> None:
    """As long as it is there."""
    kernel.neighbours = {FAR[4]: PEER}
    sender = LinuxFrameSocket(pair[0], 4, INDEX, SOURCE[4], Link(True, OWN), never)
    data, size, _ = frame(4)
    for link in (Link(True, OTHER), None):
        kernel.link = link
        sender.forget_next_hops()
        sender.send(data, size, FAR[4])
        assert pair[1].recv(70_000)[offload.HEADER :][6:12] == OTHER


@BOTH
def test_a_route_by_another_interface(
    pair: tuple[socket.socket, socket.socket], kernel: Kernel, version: int
) -> None:
    kernel.neighbours = {FAR[version]: PEER}
    sender = LinuxFrameSocket(pair[0], version, INDEX, SOURCE[version], Link(True, OWN), never)
    data, size, _ = frame(version)
    kernel.interface = kernel.interface_with_source = INDEX + 1
    assert not sender.send(data, size, FAR[version])
    kernel.interface = INDEX
    assert sender.send(data, size, FAR[version])


def test_what_is_remembered_has_limits(
    pair: tuple[socket.socket, socket.socket], kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frame_socket, "MOST_NEXT_HOPS", 2)
    monkeypatch.setattr(frame_socket, "MOST_HEADS", 3)
    sender = LinuxFrameSocket(pair[0], 4, INDEX, SOURCE[4], Link(True, OWN), never)
    data, size, _ = frame(4)
    for host in range(9):
        destination = bytes([198, 51, 100, host])
        kernel.neighbours = {destination: PEER}
        assert sender.send(data, size, destination)
        pair[1].recv(70_000)
        assert len(sender._headers) <= 2
        assert len(sender._heads) <= 3


def test_another_virtio_net_header_asks_the_kernel_nothing(
    pair: tuple[socket.socket, socket.socket], kernel: Kernel
) -> None:
    """As datagrams of ever other sizes have."""
    kernel.neighbours = {FAR[4]: PEER}
    sender = LinuxFrameSocket(pair[0], 4, INDEX, SOURCE[4], Link(True, OWN), never)
    data, size, _ = frame(4)
    for segment in range(500, 600):
        fields = list(offload.FIELDS.unpack_from(data))
        fields[3] = segment
        offload.FIELDS.pack_into(data, 0, *fields)
        assert sender.send(data, size, FAR[4])
        assert offload.FIELDS.unpack_from(pair[1].recv(70_000))[3] == segment
    assert kernel.questions == 1


@pytest.mark.parametrize("field", [2, 4], ids=["length", "start"])
def test_a_header_without_room_for_that_of_the_link(
    pair: tuple[socket.socket, socket.socket], kernel: Kernel, field: int
) -> None:
    kernel.neighbours = {FAR[4]: PEER}
    sender = LinuxFrameSocket(pair[0], 4, INDEX, SOURCE[4], Link(True, OWN), never)
    data, size, _ = frame(4)
    fields = list(offload.FIELDS.unpack_from(data))
    fields[field] = 0xFFFF
    offload.FIELDS.pack_into(data, 0, *fields)
    assert not sender.send(data, size, FAR[4])


@BOTH
def test_two_buffers(
    pair: tuple[socket.socket, socket.socket], kernel: Kernel, version: int
) -> None:
    sender = LinuxFrameSocket(
        pair[0], version, INDEX, SOURCE[version], Link(False, bytes(6)), never
    )
    for text in (b"first", b"other"):
        sender.send(memoryview(bytearray(bytes(10) + text)), 15, FAR[version])
        assert pair[1].recv(100)[10:] == text


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ARPHRD_ETHER, Link(True, OWN)),
        (ARPHRD_NONE, Link(False, OWN)),
        (772, None),  # ARPHRD_LOOPBACK
        (32, None),  # ARPHRD_INFINIBAND
    ],
)
def test_the_kind_of_a_link(
    monkeypatch: pytest.MonkeyPatch, kind: int, expected: Link | None
) -> None:
    answer = pack("16sH6s8x", b"eth0", kind, OWN)
    assert len(answer) == HARDWARE.size

    monkeypatch.setattr(frame_socket, "ioctl", lambda *_: answer)
    assert link_of("eth0") == expected


@pytest.mark.parametrize("name", ["lo", "is-not-there"])
def test_a_link_that_is_neither(name: str) -> None:
    assert link_of(name) is None


@BOTH
def test_a_frame_waits_until_the_next_hop_is_resolved(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    kernel = Kernel(monkeypatch)
    kernel.gateway = GATEWAY[version]
    resolved: list[tuple[int, bytes]] = []
    sender = LinuxFrameSocket(
        *(pair[0], version, INDEX, SOURCE[version], Link(True, OWN)),
        lambda interface, neighbour: resolved.append((interface, neighbour)),
    )
    data, size, packet = frame(version)
    sender.send_when_resolved(bytes(data[:size]), FAR[version])
    assert resolved == [(INDEX, GATEWAY[version])]
    sender.forget_next_hops()
    with pytest.raises(BlockingIOError):
        pair[1].recv(65_535)
    kernel.neighbours[GATEWAY[version]] = PEER
    sender.forget_next_hops()
    assert bytes(packet) in pair[1].recv(65_535)
    sender.forget_next_hops()
    with pytest.raises(BlockingIOError):
        pair[1].recv(65_535)
    sender.close()
