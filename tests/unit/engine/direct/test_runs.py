"""Datagrams that are alike leave together, in frames that stand for just those datagrams."""

from __future__ import annotations

import errno
from ipaddress import ip_interface
from pathlib import Path
from random import Random

import pytest

from router.engine.direct.flow import SAMPLE_INTERVAL
from router.engine.reading import read_all
from router.policy.network import Interface
from router.wire import ip, offload, udp
from router.wire.checksum import ones_complement_sum
from router.wire.offload import FIELDS, HEADER
from tests.unit.engine.world import World, far
from tests.unit.wire.packets import IP, UDP, IPv6

BOTH = pytest.mark.parametrize("version", [4, 6])
OWN = {4: "192.0.2.2", 6: "2001:db8:2::2"}
ETH0 = Interface(
    "eth0", 2, True, 1500, (ip_interface("192.0.2.2/24"), ip_interface("2001:db8:2::2/64"))
)
HOME = 9


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, local={"eth0": ETH0})


def datagram(version: int, payload: bytes, port: int = 53, hop_limit: int = 64) -> bytes:
    """As it is to leave: with one hop less, and whole checksums."""
    body = UDP(sport=4000, dport=port) / payload
    if version == 4:
        return bytes(IP(src=OWN[4], dst=far(4, HOME), ttl=hop_limit, id=0, flags="DF") / body)
    return bytes(IPv6(src=OWN[6], dst=far(6, HOME), hlim=hop_limit, fl=0x12345) / body)


def framed(packet: bytes) -> bytes:
    """As the system leaves it to the TUN: with the sum of the pseudo-header alone."""
    view = ip.parse(packet)
    start = view.payload
    length = len(packet) - start
    pseudo = ones_complement_sum(view.source + view.destination, length + ip.UDP)
    header = FIELDS.pack(offload.NEEDS_CHECKSUM, 0, start + 8, 0, start, 6)
    return header + packet[: start + 6] + pseudo.to_bytes(2, "big") + packet[start + 8 :]


def send(world: World, packets: list[bytes], now: float) -> None:
    world.tun.incoming = [framed(packet) for packet in packets]
    read_all(world.forwarder, world.tun, len(packets), now)


def left(version: int, payload: bytes, port: int = 53) -> bytes:
    return datagram(version, payload, port, hop_limit=63)


def cut(frame: bytes) -> list[bytes]:
    """The datagrams of a frame, as the system cuts it, by an independent decoder."""
    flags, kind, headers, size, start, at = FIELDS.unpack_from(frame)
    packet = frame[HEADER:]
    assert (flags, kind, at) == (offload.NEEDS_CHECKSUM, offload.SEGMENT_UDP, 6)
    assert headers == start + udp.HEADER
    whole = IP(packet) if packet[0] >> 4 == 4 else IPv6(packet)
    assert (whole.len if whole.version == 4 else whole.plen + 40) == len(packet)
    assert whole[UDP].len == len(packet) - start
    view = ip.parse(packet)
    pseudo = ones_complement_sum(view.source + view.destination, len(packet) - start + ip.UDP)
    assert whole[UDP].chksum == pseudo
    found = []
    for begin in range(headers, len(packet), size):
        one = whole.copy()
        payload = packet[begin : begin + size]
        one[UDP].remove_payload()
        for layer, fields in ((one, ("len", "plen", "chksum")), (one[UDP], ("len", "chksum"))):
            for field in fields:
                if field in layer.fields:
                    delattr(layer, field)
        found.append(bytes(one / payload))
    return found


def known(world: World, version: int) -> None:
    """Two datagrams by the raw socket: the one that is decided on, and the first sample."""
    send(world, [datagram(version, b"first"), datagram(version, b"second")], 1.0)
    assert [each.packet for each in world.raw.sent] == [
        left(version, b"first"),
        left(version, b"second"),
    ]
    world.raw.sent.clear()


@BOTH
def test_alike_they_leave_in_one_frame(world: World, version: int) -> None:
    known(world, version)
    payloads = [bytes([number]) * 64 for number in range(5)]
    send(world, [datagram(version, each) for each in payloads], 1.01)
    (frame,) = world.raw.frames.sent
    assert cut(frame) == [left(version, each) for each in payloads]
    assert not world.raw.sent


@BOTH
def test_one_alone_leaves_by_the_raw_socket(world: World, version: int) -> None:
    known(world, version)
    send(world, [datagram(version, b"alone")], 1.01)
    assert [each.packet for each in world.raw.sent] == [left(version, b"alone")]
    assert not world.raw.frames.sent


@BOTH
def test_what_differs_ends_the_frame_and_the_order_stays(world: World, version: int) -> None:
    known(world, version)
    send(world, [datagram(version, b"x", port=54)] * 2, 1.0)
    world.raw.sent.clear()
    kinds = [(b"aaaa", 53), (b"bbbb", 53), (b"ccc", 53), (b"dddd", 54), (b"eeee", 54)]
    send(world, [datagram(version, payload, port) for payload, port in kinds], 1.01)
    first, second = world.raw.frames.sent
    assert cut(first) == [left(version, b"aaaa"), left(version, b"bbbb")]
    assert [each.packet for each in world.raw.sent] == [left(version, b"ccc")]
    assert cut(second) == [left(version, b"dddd", 54), left(version, b"eeee", 54)]


@BOTH
def test_a_sample_leaves_by_the_raw_socket(world: World, version: int) -> None:
    known(world, version)
    later = 1.0 + 2 * SAMPLE_INTERVAL
    send(world, [datagram(version, b"1"), datagram(version, b"2"), datagram(version, b"3")], later)
    assert [each.packet for each in world.raw.sent] == [left(version, b"1")]
    (frame,) = world.raw.frames.sent
    assert cut(frame) == [left(version, b"2"), left(version, b"3")]


@BOTH
def test_as_long_as_the_firewall_refuses_the_sample_nothing_leaves(
    world: World, version: int
) -> None:
    known(world, version)
    world.raw.by_source[OWN[version]].errors = [errno.EPERM] * 3
    later = 1.0 + 2 * SAMPLE_INTERVAL
    send(world, [datagram(version, bytes([number])) for number in range(3)], later)
    assert not world.raw.sent
    assert not world.raw.frames.sent
    assert world.drops == {"refused-by-host": 3}


@BOTH
def test_without_the_next_hops_link_address_they_leave_one_by_one(
    world: World, version: int
) -> None:
    known(world, version)
    world.raw.frames.resolved = False
    send(world, [datagram(version, b"1"), datagram(version, b"2")], 1.01)
    assert [each.packet for each in world.raw.sent] == [left(version, b"1"), left(version, b"2")]


@BOTH
def test_each_datagram_leaves_once_and_as_it_was(world: World, version: int) -> None:
    """Against what a wire would show: each datagram once, as it was but for its hop limit."""
    random = Random(11)
    frames, now = 0, 1.0
    for _ in range(20):
        now += random.random() / 20
        burst = []
        for _ in range(random.randrange(1, 80)):
            size = random.choice([1, 64, 64, 64, 65, 1200])
            burst.append((random.randbytes(size), random.choice([53, 53, 53, 54])))
        send(world, [datagram(version, *each) for each in burst], now)
        got = [each.packet for each in world.raw.sent]
        for frame in world.raw.frames.sent:
            got += cut(frame)
        assert sorted(got) == sorted(left(version, *each) for each in burst)
        frames += len(world.raw.frames.sent)
        world.raw.sent.clear()
        world.raw.frames.sent.clear()
    assert frames > 10
