"""The program at the TUN by itself, with flows in its maps and no router: what it forwards leaves
as it was but for a hop, all else comes out of the TUN as it was, and nothing is lost in between.
Where the kernel has no such program (before Linux 6.6), all comes out of the TUN."""

from __future__ import annotations

import mmap
import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from fcntl import ioctl
from functools import partial
from struct import pack
from typing import Final

import pytest

from router.platform.base.flow_offload import Forwarding
from router.platform.linux.bpf.flow_maps import SLOT
from router.platform.linux.bpf.forwarding import LONGEST_WAIT
from router.platform.linux.flow_program import (
    DIRECTIONS,
    MOST_FLOWS,
    FlowProgram,
    key,
    value,
)
from router.platform.linux.only_on_linux import AF_PACKET
from router.wire import ip, offload
from router.wire.headers import HOP_LIMIT
from tests.e2e import netns, sockets
from tests.e2e.direct.ends import packet_socket
from tests.e2e.direct.forwarding import FORWARDS
from tests.e2e.netns import Namespace, unique_prefix
from tests.e2e.wait import BOUND_S, wait_until
from tests.unit.wire.packets import (
    ICMP,
    IP,
    TCP,
    UDP,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    Packet,
)

IPOption = pytest.importorskip("scapy.layers.inet").IPOption
OWN, FAR = {4: "192.0.2.2", 6: "2001:db8:2::2"}, {4: "198.51.100.9", 6: "2001:db8:100::9"}
NEXT_HOP: Final = {4: "192.0.2.1", 6: "fe80::1"}
LINK: Final = "02:00:00:00:00:01"
MTU: Final = {"tcp": 1500, "udp": 1500, "icmp": 40_000}
MOST: Final = max(MTU.values())
ETHERTYPE: Final = {4: 0x0800, 6: 0x86DD}
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
TUNSETIFF, TUNSETVNETHDRSZ = 0x400454CA, 0x400454D8
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
WORDS: Final = SLOT.size // 8
PACKETS, SIZE, LEFT, SENT_ON, WAIT_UNTIL = 2, 3, 4, 5, 6
"""Words of a slot."""
SLOT_OF: Final = {"tcp": 0, "udp": 2, "icmp": 4}
UPPER: Final = {4: 20, 6: 40}
NANOSECONDS: Final = 10**9
WAITS: Final = 100
MUTATIONS: Final = 1500
VERSIONS = pytest.mark.parametrize("version", [4, 6])
PROTOCOLS = pytest.mark.parametrize("protocol", list(SLOT_OF))


def packed(version: int, address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET if version == 4 else socket.AF_INET6, address)


def header(version: int) -> Packet:
    if version == 4:
        return IP(src=OWN[4], dst=FAR[4], id=7, ttl=64)
    return IPv6(src=OWN[6], dst=FAR[6], fl=0x12345, hlim=64)


def upper(version: int, protocol: str) -> Packet:
    if protocol == "tcp":
        return TCP(sport=4000, dport=80, flags="A", seq=1, ack=2)
    if protocol == "udp":
        return UDP(sport=4000, dport=80)
    return ICMP(type=8, id=5, seq=1) if version == 4 else ICMPv6EchoRequest(id=5, seq=1)


def packet(version: int, protocol: str, payload: bytes = b"some data") -> bytes:
    return bytes(header(version) / upper(version, protocol) / payload)


def ends_of(data: bytes, version: int, protocol: str) -> bytes:
    """See Forwarding."""
    addresses = data[12:20] if version == 4 else data[8:40]
    rest = data[UPPER[version] :]
    return addresses + (rest[:2] + rest[4:6] if protocol == "icmp" else rest[:4])


def with_a_hop_less(data: bytes, version: int) -> bytes:
    """As a router changes it (RFC 1624, equation 3)."""
    found = bytearray(data)
    found[HOP_LIMIT[version]] -= 1
    if version == 4:
        sums = [~int.from_bytes(data[at : at + 2]) & 0xFFFF for at in (10, 8)]
        total = sum(sums) + int.from_bytes(found[8:10])
        total = (total & 0xFFFF) + (total >> 16)
        total = (total & 0xFFFF) + (total >> 16)
        found[10:12] = (~total & 0xFFFF).to_bytes(2)
    return bytes(found)


class Machine:
    """A TUN with the program, and an interface that all flows are forwarded by. Each flow is as the
    router begins it: nothing is forwarded until `open`."""

    def __init__(self, stack: ExitStack) -> None:
        prefix = unique_prefix()
        own, self.peer = Namespace(f"{prefix}-own"), Namespace(f"{prefix}-peer")
        stack.callback(netns.delete, own, self.peer)
        netns.create(own, self.peer)
        for each in (own, self.peer):
            each.sysctl(ipv6__conf__default__disable_ipv6=1)
        netns.join((own, "out0", self.peer, "in0"))
        self.peer.ip(f"link set in0 address {LINK} up")
        self.tun = stack.enter_context(os.fdopen(sockets.within(own, _open_tun), "r+b", 0))
        own.sysctl(ipv6__conf__all__disable_ipv6=0)
        own.ip("link set out0 up", f"link set tun0 mtu {MOST} up")
        own.ip(
            *(
                f"neigh replace {NEXT_HOP[each]} lladdr {LINK} dev out0 nud permanent"
                for each in (4, 6)
            )
        )
        self.indices = [
            int(own.run("cat", f"/sys/class/net/{name}/ifindex").stdout)
            for name in ("tun0", "out0")
        ]
        self.arrivals = stack.enter_context(packet_socket(self.peer))
        self.arrivals.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.into = stack.enter_context(sockets.within(own, _packet_socket))
        self.words = memoryview(bytearray(DIRECTIONS * MOST_FLOWS * SLOT.size)).cast("Q")
        if not FORWARDS:
            with pytest.raises(OSError):
                sockets.within(own, partial(FlowProgram, self.indices[0]))
            return
        program = stack.enter_context(
            closing(sockets.within(own, partial(FlowProgram, self.indices[0])))
        )
        memory = stack.enter_context(
            closing(mmap.mmap(program.slots, DIRECTIONS * MOST_FLOWS * SLOT.size))
        )
        self.words = memoryview(memory).cast("Q")
        stack.callback(self.words.release)
        for version in (4, 6):
            for protocol, slot in SLOT_OF.items():
                self._add(program, version, protocol, slot + (version == 6))

    def _add(self, program: FlowProgram, version: int, protocol: str, slot: int) -> None:
        data = packet(version, protocol)
        part = Forwarding(
            data[9] if version == 4 else data[6],
            ends_of(data, version, protocol),
            self.indices[1],
            packed(version, NEXT_HOP[version]),
            MTU[protocol],
        )
        program.add(version, [(key(part), value(part, slot, 0))])
        self.words[slot * WORDS + LEFT] = 1

    def word(self, version: int, protocol: str, which: int) -> int:
        return self.words[(SLOT_OF[protocol] + (version == 6)) * WORDS + which]

    def open(self, version: int, protocol: str) -> None:
        """As the router does when it has sent on all that was left to it."""
        at = (SLOT_OF[protocol] + (version == 6)) * WORDS
        self.words[at + SENT_ON] = self.words[at + LEFT]

    def slow_down(self, version: int, protocol: str, until: float) -> None:
        """Senders wait for `open` from now on, until that time of a steady clock."""
        at = (SLOT_OF[protocol] + (version == 6)) * WORDS
        self.words[at + SENT_ON] = self.words[at + LEFT] - 1
        self.words[at + WAIT_UNTIL] = int(until * NANOSECONDS)

    def send(self, data: bytes, version: int, unfinished: bytes = offload.NOTHING_LEFT) -> None:
        self.into.sendto(unfinished + data, ("tun0", ETHERTYPE[version], 0, 0, bytes(6)))

    def forwarded(self) -> bytes | None:
        """The next packet that has left by the interface."""
        while True:
            try:
                found = self.arrivals.recv(1 << 17)
            except BlockingIOError:
                return None
            if not is_noise(found):
                return found

    def left(self) -> bytes | None:
        """The next packet that has come out of the TUN, without what is unfinished of it."""
        while True:
            found = self.tun.read(1 << 17)
            if found is None:
                return None
            if not is_noise(found[offload.HEADER :]):
                return bytes(found[offload.HEADER :])

    def carry(self, data: bytes, version: int) -> bytes | None:
        """What has left by the interface of a packet; None if it has come out of the TUN as it
        was. It is one of both."""
        self.send(data, version)
        found: list[bytes] = []

        def arrived() -> bool:
            left, forwarded = self.left(), self.forwarded()
            if left is not None:
                assert left == data
            elif forwarded is not None:
                found.append(forwarded)
            return left is not None or forwarded is not None

        wait_until(arrived, f"the packet {data.hex()}")
        assert self.left() is None
        assert self.forwarded() is None
        return found[0] if found else None


def is_noise(data: bytes) -> bool:
    """Whether our kernel has sent it of its own: to a multicast address of IPv6."""
    return data[0] >> 4 == 6 and data[24:25] == b"\xff"


def _open_tun() -> int:
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR
    ioctl(descriptor, TUNSETIFF, pack("16sH22x", b"tun0", flags))
    ioctl(descriptor, TUNSETVNETHDRSZ, pack("=i", offload.HEADER))
    return descriptor


def _packet_socket() -> socket.socket:
    sock = socket.socket(AF_PACKET, socket.SOCK_RAW, 0)
    sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    return sock


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with ExitStack() as stack:
        yield Machine(stack)


def expected(data: bytes, version: int) -> bytes | None:
    """Of a packet that is forwarded where the kernel can do that; see Machine.carry."""
    return with_a_hop_less(data, version) if FORWARDS else None


@VERSIONS
@PROTOCOLS
def test_a_packet_is_forwarded(machine: Machine, version: int, protocol: str) -> None:
    data = packet(version, protocol)
    assert machine.carry(data, version) is None, "until it is open"
    machine.open(version, protocol)
    before = [machine.word(version, protocol, each) for each in (PACKETS, SIZE)]
    assert machine.carry(data, version) == expected(data, version)
    after = [machine.word(version, protocol, each) for each in (PACKETS, SIZE)]
    counted = [now - then for now, then in zip(after, before, strict=True)]
    assert counted == ([1, len(data)] if FORWARDS else [0, 0])


def with_flags(flags: str, version: int) -> bytes:
    return bytes(header(version) / TCP(sport=4000, dport=80, flags=flags))


def last_hop(version: int) -> bytes:
    data = bytearray(packet(version, "icmp"))
    data[HOP_LIMIT[version]] = 1
    return bytes(data)


def too_long(version: int) -> bytes:
    return packet(version, "udp", bytes(MTU["udp"]))


def huge(version: int) -> bytes:
    """The kernel makes no room for a link header in front of it."""
    return packet(version, "icmp", bytes(20_000))


def first_fragment(version: int) -> bytes:
    whole = upper(version, "udp") / bytes(64)
    if version == 4:
        return bytes(IP(src=OWN[4], dst=FAR[4], flags="MF") / whole)
    return bytes(header(6) / IPv6ExtHdrFragment(m=1, nh=ip.UDP) / whole)


SPECIAL: Final[dict[str, tuple[str, Callable[[int], bytes]]]] = {
    **{flags: ("tcp", partial(with_flags, flags)) for flags in ("S", "SA", "FA", "R", "RA", "FPA")},
    "first-fragment": ("udp", first_fragment),
    "last-hop": ("icmp", last_hop),
    "too-long": ("udp", too_long),
    "huge": ("icmp", huge),
}


@VERSIONS
@pytest.mark.parametrize("kind", list(SPECIAL))
def test_what_is_left_to_the_router_is_not_overtaken(
    machine: Machine, version: int, kind: str
) -> None:
    protocol, make = SPECIAL[kind]
    plain = packet(version, protocol)
    machine.open(version, protocol)
    assert machine.carry(plain, version) == expected(plain, version)
    assert machine.carry(make(version), version) is None
    assert machine.carry(plain, version) is None
    machine.open(version, protocol)
    assert machine.carry(plain, version) == expected(plain, version)


def others(version: int) -> Iterator[Packet]:
    """What is of no flow in the map, or not known to be."""
    yield header(version) / UDP(sport=4001, dport=80)
    if version == 4:
        yield header(4) / ICMP(type=0, id=5)
        yield header(4) / ICMP(type=8, id=6)
        yield IP(src=OWN[4], dst=FAR[4], frag=9) / bytes(upper(4, "udp"))
        yield IP(src=OWN[4], dst=FAR[4], options=[IPOption(b"\1\1\1\1")]) / upper(4, "udp")
    else:
        yield header(6) / ICMPv6EchoRequest(id=6)
        yield header(6) / IPv6ExtHdrFragment(offset=9, nh=ip.UDP) / bytes(upper(6, "udp"))
        yield header(6) / IPv6ExtHdrDestOpt() / upper(6, "udp")


@VERSIONS
def test_what_is_of_no_flow_is_left(machine: Machine, version: int) -> None:
    for protocol in SLOT_OF:
        machine.open(version, protocol)
    for each in others(version):
        assert machine.carry(bytes(each), version) is None, each.summary()
    plain = packet(version, "udp")
    assert machine.carry(plain, version) == expected(plain, version), "nor is it waited for"


@VERSIONS
@PROTOCOLS
def test_packets_that_are_cut_off(machine: Machine, version: int, protocol: str) -> None:
    """What does not have all its headers is of no flow."""
    data = packet(version, protocol)
    headers = UPPER[version] + (20 if protocol == "tcp" else 8)
    for size in range(1, len(data)):
        machine.open(version, protocol)
        wanted = None if size < headers else expected(data[:size], version)
        assert machine.carry(data[:size], version) == wanted, size


@VERSIONS
@PROTOCOLS
def test_a_sender_waits(machine: Machine, version: int, protocol: str) -> None:
    """Before each packet, but not for long; then that is left to the router as others are. How
    much of LONGEST_WAIT it is depends on the processor: the checks are counted, too."""
    data = packet(version, protocol)
    machine.slow_down(version, protocol, time.monotonic() + 2 * BOUND_S)
    before, began = machine.word(version, protocol, LEFT), time.monotonic()
    assert [machine.carry(data, version) for _ in range(WAITS)] == [None] * WAITS
    if FORWARDS:
        assert time.monotonic() - began > WAITS * LONGEST_WAIT / 10 / NANOSECONDS
        assert machine.word(version, protocol, LEFT) == before + WAITS
    machine.open(version, protocol)
    assert machine.carry(data, version) == expected(data, version)
    machine.slow_down(version, protocol, time.monotonic())
    assert machine.carry(data, version) is None


@VERSIONS
def test_damaged_packets(machine: Machine, version: int) -> None:
    """Whatever is in them but addresses: other lengths, versions, flags, offsets."""
    source = random.Random(version)
    addresses = range(12, 20) if version == 4 else range(8, 40)
    forwarded = 0
    for number in range(MUTATIONS):
        protocol = source.choice(list(SLOT_OF))
        data = bytearray(packet(version, protocol, source.randbytes(source.randrange(40))))
        places = [at for at in range(len(data)) if at not in addresses]
        for at in source.sample(places, number % 4):
            data[at] = source.randrange(256)
        machine.open(version, protocol)
        found = machine.carry(bytes(data), version)
        assert found in (None, with_a_hop_less(bytes(data), version))
        forwarded += found is not None
    assert (forwarded > MUTATIONS // 4) == FORWARDS


@VERSIONS
def test_damaged_frames(machine: Machine, version: int) -> None:
    """Frames that are yet to be cut, with headers of a virtual machine's making: what the kernel
    takes of them harms nothing that follows."""
    source = random.Random(version)
    kind = offload.SEGMENT_TCP_V4 if version == 4 else offload.SEGMENT_TCP_V6
    taken = 0
    for _ in range(MUTATIONS // 5):
        data = bytearray(packet(version, "tcp", bytes(3000)))
        data[UPPER[version] + 12] = source.randrange(256)
        fields = [
            *(offload.NEEDS_CHECKSUM, kind, source.choice([0, 40, 60, source.randrange(4000)])),
            *(source.choice([1, 1000, source.randrange(1, 65536)]), UPPER[version], 16),
        ]
        machine.open(version, "tcp")
        with suppress(OSError):
            machine.send(bytes(data), version, offload.FIELDS.pack(*fields))
            taken += 1
    assert taken
    while machine.left() or machine.forwarded():
        pass
    for protocol in SLOT_OF:
        plain = packet(version, protocol)
        machine.open(version, protocol)
        assert machine.carry(plain, version) == expected(plain, version)
