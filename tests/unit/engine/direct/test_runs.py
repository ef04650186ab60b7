"""Datagrams that are alike leave together, in frames that stand for just those datagrams."""

from __future__ import annotations

import errno
from pathlib import Path
from random import Random

import pytest

from router.engine.direct.flow import SAMPLE_INTERVAL
from router.engine.direct.runs import MOST_FLOWS
from router.wire import ip, offload, udp
from router.wire.checksum import ones_complement_sum
from router.wire.offload import FIELDS, HEADER
from tests.unit.engine.memory_raw import Sent
from tests.unit.engine.world import ETH0, World, far
from tests.unit.wire.packets import IP, UDP, IPv6, IPv6ExtHdrFragment

BOTH = pytest.mark.parametrize("version", [4, 6])
OWN = {4: "192.0.2.2", 6: "2001:db8:2::2"}
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
    world.read(len(packets), now)


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


def known(world: World, version: int, port: int = 53) -> None:
    """By the raw socket: the one that is decided on, the first of its kind, the first sample."""
    payloads = [b"decided", b"kind", b"samp"]
    send(world, [datagram(version, each, port) for each in payloads], 1.0)
    assert raw(world) == [left(version, each, port) for each in payloads]


def raw(world: World) -> list[bytes]:
    """What has left by the raw socket since the last time."""
    sent = [each.packet for each in world.raw.sent]
    world.raw.sent.clear()
    return sent


@BOTH
def test_alike_they_leave_in_one_frame(world: World, version: int) -> None:
    known(world, version)
    payloads = [bytes([number]) * 64 for number in range(5)]
    send(world, [datagram(version, each) for each in payloads], 1.01)
    (frame,) = world.raw.frames.sent
    assert raw(world) == [left(version, payloads[0])], "the first of its kind"
    assert cut(frame) == [left(version, each) for each in payloads[1:]]


@BOTH
def test_a_fragment_overtakes_nothing(world: World, version: int) -> None:
    known(world, version)
    payloads = [b"kind", b"kept"]
    whole = datagram(version, b"in fragments")
    if version == 4:
        fragment = bytes(IP(whole, flags="MF"))
    else:
        packet = IPv6(whole)
        head = IPv6(src=packet.src, dst=packet.dst, hlim=64)
        fragment = bytes(head / IPv6ExtHdrFragment(m=1, nh=17) / packet.payload)
    world.tun.incoming = [framed(datagram(version, each)) for each in payloads]
    world.tun.incoming.append(offload.NOTHING_LEFT + fragment)
    world.read(3, 1.01)
    sent = raw(world)
    assert sent[:2] == [left(version, each) for each in payloads]
    assert len(sent) == 3


@BOTH
def test_one_alone_leaves_by_the_raw_socket(world: World, version: int) -> None:
    known(world, version)
    send(world, [datagram(version, b"alone")], 1.01)
    assert raw(world) == [left(version, b"alone")]
    send(world, [datagram(version, b"1"), datagram(version, b"2")], 1.02)
    assert raw(world) == [left(version, b"1"), left(version, b"2")]
    assert not world.raw.frames.sent


@BOTH
def test_flows_that_take_turns_leave_in_a_frame_each(world: World, version: int) -> None:
    ports = (53, 54)
    for port in ports:
        known(world, version, port)
    given = [(bytes([number]) * 64, port) for number in range(5) for port in ports]
    send(world, [datagram(version, *each) for each in given], 1.01)
    assert raw(world) == [left(version, *each) for each in given[:2]], "the first of each flow"
    of_53, of_54 = world.raw.frames.sent
    assert cut(of_53) == [left(version, *each) for each in given[2::2]]
    assert cut(of_54) == [left(version, *each) for each in given[3::2]]


@BOTH
def test_a_flow_that_had_a_frame_begins_the_next_at_once(world: World, version: int) -> None:
    known(world, version)
    for turn in (1.01, 1.02, 1.03):
        world.raw.frames.sent.clear()
        send(world, [datagram(version, bytes([number])) for number in range(4)], turn)
    assert raw(world) == [left(version, bytes([0]))], "of the first turn"
    (frame,) = world.raw.frames.sent
    assert cut(frame) == [left(version, bytes([number])) for number in range(4)]
    send(world, [datagram(version, b"7")], 1.04)
    send(world, [datagram(version, b"8")], 1.05)
    assert raw(world) == [left(version, b"7"), left(version, b"8")]


@BOTH
def test_of_more_flows_than_are_kept_some_leave_one_by_one(world: World, version: int) -> None:
    ports = range(53, 53 + MOST_FLOWS + 4)
    for port in ports:
        known(world, version, port)
    given = [(bytes([number]) * 9, port) for number in range(3) for port in ports]
    send(world, [datagram(version, *each) for each in given], 1.01)
    assert len(world.raw.frames.sent) == MOST_FLOWS
    got = raw(world) + [each for frame in world.raw.frames.sent for each in cut(frame)]
    assert sorted(got) == sorted(left(version, *each) for each in given)


@BOTH
def test_what_differs_ends_the_frame_and_the_order_stays(world: World, version: int) -> None:
    known(world, version)
    known(world, version, 54)
    kinds = [(each, 53) for each in (b"aaaa", b"bbbb", b"cccc", b"ddd")]
    kinds += [(each, 54) for each in (b"eeee", b"ffff", b"gggg")]
    send(world, [datagram(version, payload, port) for payload, port in kinds], 1.01)
    first, second = world.raw.frames.sent
    assert cut(first) == [left(version, b"bbbb"), left(version, b"cccc")]
    assert cut(second) == [left(version, b"ffff", 54), left(version, b"gggg", 54)]
    assert raw(world) == [
        *(left(version, b"aaaa"), left(version, b"ddd"), left(version, b"eeee", 54))
    ]


@pytest.mark.parametrize("between", ["longer", "whole checksum", "traffic class"])
@BOTH
def test_what_leaves_by_itself_does_not_overtake(
    world: World, version: int, between: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known(world, version)
    _record_frames_with_packets(world, monkeypatch)
    sent = [datagram(version, bytes([number]) * 4) for number in range(9)]
    if between == "longer":
        sent[4] = datagram(version, bytes(5))
    elif between == "traffic class":
        sent[4] = with_traffic_class(version, sent[4])
    frames = [framed(each) for each in sent]
    if between == "whole checksum":
        frames[4] = offload.NOTHING_LEFT + sent[4]
    world.tun.incoming = frames
    world.read(len(frames), 1.01)
    assert [ip.parse(each).body[udp.HEADER :] for each in raw(world)] == [
        ip.parse(each).body[udp.HEADER :] for each in sent
    ]


def with_traffic_class(version: int, packet: bytes) -> bytes:
    changed = IP(packet) if version == 4 else IPv6(packet)
    if version == 4:
        changed.tos = 8
        del changed.chksum
    else:
        changed.tc = 8
    return bytes(changed)


def _record_frames_with_packets(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order in which they leave; a frame as the packets that it is cut into."""

    def send(frame: memoryview, size: int, _destination: bytes) -> bool:
        packets = cut(bytes(frame[:size]))
        world.raw.sent.extend(Sent(each, "eth0", "", "") for each in packets)
        return len(packets) > 1

    monkeypatch.setattr(world.raw.frames, "send", send)


@BOTH
def test_a_sample_leaves_by_the_raw_socket(world: World, version: int) -> None:
    known(world, version)
    later = 1.0 + 2 * SAMPLE_INTERVAL
    send(world, [datagram(version, each) for each in (b"1", b"2", b"3", b"4")], later)
    assert raw(world) == [left(version, b"1"), left(version, b"2")]
    (frame,) = world.raw.frames.sent
    assert cut(frame) == [left(version, b"3"), left(version, b"4")]


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
    payloads = [b"1", b"2", b"3"]
    send(world, [datagram(version, each) for each in payloads], 1.01)
    assert raw(world) == [left(version, each) for each in payloads]


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
