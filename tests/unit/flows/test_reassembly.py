"""Fragments put together: any order, duplicates, overlaps, too many, too late, and an oracle."""

from __future__ import annotations

from random import Random

import pytest

from router.flows import reassembly
from router.flows.drops import Drop
from router.flows.reassembly import LIMIT_BYTES, LIMIT_DATAGRAMS, TIMEOUT, Reassembler
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


@BOTH
def test_datagrams_are_limited_in_number(version: int) -> None:
    reassembler = Reassembler()
    for identification in range(1, LIMIT_DATAGRAMS + 11):
        packet = request(version, 3000, identification)
        reassembler.add(fragments_of(packet, identification=identification)[0], 0.0)
    assert len(reassembler) == LIMIT_DATAGRAMS


def test_memory_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "LIMIT_BYTES", 10_000)
    reassembler = Reassembler()
    outcomes: list[object] = []
    for number in range(1, 6):
        outcomes += feed(reassembler, fragments_of(request(4, 6000, number))[:3])
    assert Drop.FRAGMENT in outcomes
    assert len(reassembler) <= 3
    assert LIMIT_BYTES > LIMIT_DATAGRAMS


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
        assert reassembler._bytes == sum(d.size for d in reassembler._waiting.values())
