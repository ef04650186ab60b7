"""Fragments put together: any order, duplicates, overlaps, too many, too late, and an oracle."""

from __future__ import annotations

import tracemalloc
from itertools import count
from random import Random

import pytest

from router.flows.drops import Drop
from router.flows.reassembly import FEW_BYTES, LIMIT_BYTES, TIMEOUT, Reassembler
from router.wire import icmp, ip
from router.wire.fragments import split
from tests.unit.wire.packets import (
    IP,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    Raw,
    echo_request,
)

BOTH = pytest.mark.parametrize("version", [4, 6])


def request(version: int, size: int = 4000, sequence: int = 1) -> bytes:
    payload = Random(size).randbytes(size)
    data = bytearray(echo_request(version, payload=payload, sequence=sequence))
    if version == 4:
        data[4:8] = sequence.to_bytes(2, "big") + b"\0\0"  # without DF, which forbids fragments
    return bytes(data)


def fragments_of(packet: bytes, mtu: int = 1280, identification: int = 9) -> list[ip.Packet]:
    return [ip.parse(fragment) for fragment in split(packet, mtu, identification)]


def feed(reassembler: Reassembler, fragments: list[ip.Packet], now: float = 0.0) -> list[object]:
    return [reassembler.add(fragment, now) for fragment in fragments]


@BOTH
@pytest.mark.parametrize("seed", range(10))
def test_any_order_with_duplicates(version: int, seed: int) -> None:
    random = Random(seed)
    packet = request(version, random.randrange(1300, 20000))
    fragments = fragments_of(packet)
    shuffled = fragments + random.choices(fragments, k=3)
    random.shuffle(shuffled)
    reassembler = Reassembler()
    wholes = [o for o in feed(reassembler, shuffled) if isinstance(o, ip.Packet)]
    assert wholes
    assert bytes(wholes[0].body) == bytes(ip.parse(packet).body)
    assert icmp.has_valid_checksum(wholes[0])
    assert icmp.is_echo_request(wholes[0])
    assert not wholes[0].dont_fragment


@BOTH
def test_the_largest_packet(version: int) -> None:
    """The length field counts the header in IPv4 and not in IPv6."""
    largest = 65507 if version == 4 else 65527
    (whole,) = (
        outcome
        for outcome in feed(Reassembler(), fragments_of(long_packet(version, largest)))
        if outcome is not None
    )
    assert isinstance(whole, ip.Packet)
    assert len(whole.data) - whole.payload == largest + 8
    assert feed(Reassembler(), fragments_of(long_packet(version, largest + 1)))[-1] is Drop.FRAGMENT


def long_packet(version: int, size: int) -> bytes:
    """A packet that may be too long for its length field, which scapy would not build."""
    packet = request(version, 100)
    return packet[:-100] + bytes(size)


def test_beyond_the_largest_packet() -> None:
    """The ping of death: the last fragment would end behind 65535."""
    header = IP(src="10.0.0.1", dst="10.0.0.2", proto=1, frag=8189)
    assert Reassembler().add(ip.parse(bytes(header / bytes(100))), 0.0) is Drop.FRAGMENT


@BOTH
def test_overlaps_are_refused(version: int) -> None:
    """RFC 5722: a datagram with overlapping fragments is discarded, all of it."""
    fragments = fragments_of(request(version))
    other = fragments_of(request(version, 4008), mtu=1000)
    reassembler = Reassembler()
    assert feed(reassembler, [fragments[0], other[1]]) == [None, Drop.FRAGMENT]
    assert len(reassembler) == 0


@BOTH
def test_a_duplicate_that_differs_is_refused(version: int) -> None:
    fragments = fragments_of(request(version))
    forged = bytearray(fragments[0].data)
    forged[-1] ^= 1
    outcomes = feed(Reassembler(), [fragments[0], ip.parse(bytes(forged))])
    assert outcomes == [None, Drop.FRAGMENT]


@BOTH
def test_two_ends_are_refused(version: int) -> None:
    short, long = (fragments_of(request(version, size)) for size in (4000, 8000))
    assert feed(Reassembler(), [short[-1], long[-1]])[-1] is Drop.FRAGMENT
    assert feed(Reassembler(), [long[-2], short[-1]])[-1] is Drop.FRAGMENT


def test_a_fragment_that_does_not_end_on_eight_bytes_is_refused() -> None:
    header = IP(src="10.0.0.1", dst="10.0.0.2", proto=1, flags="MF")
    assert Reassembler().add(ip.parse(bytes(header / bytes(11))), 0.0) is Drop.FRAGMENT


@BOTH
def test_datagrams_are_distinguished(version: int) -> None:
    one, two = request(version, 3000, 1), request(version, 3000, 2)
    mixed = [
        fragment
        for pair in zip(
            fragments_of(one, identification=1), fragments_of(two, identification=2), strict=True
        )
        for fragment in pair
    ]
    wholes = [o for o in feed(Reassembler(), mixed) if isinstance(o, ip.Packet)]
    assert [bytes(whole.body) for whole in wholes] == [
        bytes(ip.parse(packet).body) for packet in (one, two)
    ]


@BOTH
def test_time_is_limited_and_the_first_fragment_is_kept(version: int) -> None:
    """Its sender receives time exceeded, code 1, which quotes the first fragment (RFC 792)."""
    reassembler = Reassembler()
    fragments = fragments_of(request(version))
    feed(reassembler, fragments[:1], now=100.0)
    feed(reassembler, fragments[2:], now=110.0)
    assert list(reassembler.expire(99.9 + TIMEOUT[version])) == []
    assert list(reassembler.expire(100.0 + TIMEOUT[version])) == [fragments[0]]
    assert len(reassembler) == 0
    feed(reassembler, fragments[1:], now=0.0)
    assert list(reassembler.expire(1000.0)) == [None]


def tiny(number: int, source: int = 1, offset: int = 8) -> ip.Packet:
    """A fragment of 8 bytes, of the datagram with that identification."""
    return ip.parse(
        ip.build(
            bytes([10, 1, source >> 8, source & 0xFF]),
            bytes([198, 51, 100, 1]),
            ip.ICMP,
            bytes(8),
            flags=ip.MORE_FRAGMENTS | offset >> 3,
            identification=number,
        )
    )


def test_memory_is_limited_and_counted_as_it_is() -> None:
    """Many hosts with small fragments; buffers and objects count, as tracemalloc finds them."""
    limit = LIMIT_BYTES // 4
    reassembler = Reassembler(limit)
    tracemalloc.start()
    try:
        for source in range(20):
            for number in range(250):
                reassembler.add(tiny(number, source, 8 * (number % 60)), 0.0)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(reassembler) > 1250
    assert 0.8 * taken < reassembler.held <= limit
    list(reassembler.expire(TIMEOUT[4]))
    assert (len(reassembler), reassembler.held) == (0, 0)


def test_one_source_has_a_share_and_loses_its_own_oldest_datagram() -> None:
    reassembler = Reassembler()
    other = fragments_of(request(4))
    feed(reassembler, other[:-1])
    outcomes = [reassembler.add(tiny(number), 1.0) for number in range(20_000)]
    assert outcomes[-1] is Drop.FRAGMENT
    assert 0.6 * LIMIT_BYTES < reassembler.held < 0.7 * LIMIT_BYTES
    assert isinstance(reassembler.add(other[-1], 1.0), ip.Packet), "that of another is still there"


def test_a_source_with_little_has_room_for_a_datagram_of_any_size() -> None:
    reassembler = Reassembler()
    for source in range(10):
        numbers = count()
        while reassembler.add(tiny(next(numbers), source), 0.0) is not Drop.FRAGMENT:
            pass
    outcomes = feed(reassembler, fragments_of(request(4, 60_000)))
    assert isinstance(outcomes[-1], ip.Packet)
    assert FEW_BYTES > 65536 * 9 / 8


def test_extension_headers_before_and_behind_the_fragment_header() -> None:
    six = IPv6(src="fd00::1", dst="fd00::2") / IPv6ExtHdrHopByHop()
    behind = (
        bytes(IPv6ExtHdrDestOpt(nh=58))
        + bytes(IPv6(src="fd00::1", dst="fd00::2") / ICMPv6EchoRequest(id=5, data=bytes(1000)))[40:]
    )
    parts = [(0, behind[:800], 1), (800, behind[800:], 0)]
    fragments = [
        ip.parse(bytes(six / IPv6ExtHdrFragment(offset=at >> 3, m=more, id=3, nh=60) / Raw(part)))
        for at, part, more in parts
    ]
    outcome = feed(Reassembler(), fragments)[-1]
    assert isinstance(outcome, ip.Packet)
    assert icmp.is_echo_request(outcome)
    assert icmp.has_valid_checksum(outcome)
    assert outcome.payload == 40 + 8 + 8


@BOTH
@pytest.mark.parametrize("seed", range(20))
def test_damaged_fragments_never_raise(version: int, seed: int) -> None:
    random = Random(seed)
    reassembler = Reassembler()
    for number in range(100):
        data = bytearray(random.choice(fragments_of(request(version, 4000))).data)
        for _ in range(random.randrange(4)):
            data[random.randrange(60)] = random.randrange(256)
        try:
            fragment = ip.parse(bytes(data))
        except ip.Malformed:
            continue
        if fragment.is_fragment:
            reassembler.add(fragment, float(number))
        list(reassembler.expire(float(number)))
        every = [d for each in reassembler._waiting.values() for d in each.values()]
        assert reassembler.held == sum(d.counted for d in every)
