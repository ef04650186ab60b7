"""What leaves directly, byte for byte; and what becomes of a packet that cannot be sent."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from scapy.layers.inet import IPOption

from router.engine.direct import path
from router.wire import ip, offload
from tests.unit.engine.direct.cases import (
    ETH0,
    HOME,
    HOP_LIMIT,
    NO_ROUTE,
    PROHIBITED,
    TOO_BIG,
    datagram,
    direct_world,
    error_in,
    frames,
    header,
    left,
    of_protocol,
    one_hop_less,
    refuse,
    segment,
    twice,
    unsummed,
    value_in,
)
from tests.unit.engine.world import RULES, World, far
from tests.unit.wire.packets import (
    ICMP,
    IP,
    TCP,
    UDP,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    Packet,
    defragmented,
)

BOTH = pytest.mark.parametrize("version", [4, 6])
SUBNETS = '[198.51.100.0/24, "2001:db8:100::/64"]'
BY_PORT = RULES.replace(
    f"  - {{cidr: {SUBNETS}, policy: home}}",
    f"  - {{cidr: {SUBNETS}, protocol: udp, port: 53, policy: reject}}\n"
    f"  - {{cidr: {SUBNETS}, protocol: tcp, port: 25, policy: reject}}\n"
    f"  - {{cidr: {SUBNETS}, protocol: icmp, policy: reject}}\n"
    f"  - {{cidr: {SUBNETS}, policy: home}}",
)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return direct_world(tmp_path)


def sent_since(world: World, packet: bytes) -> list[bytes]:
    """What leaves when a packet is sent that is like one before."""
    world.raw.sent.clear()
    assert world.send_together([packet]) == []
    return left(world)


# Unchanged


def _with(version: int, **fields: object) -> Packet:
    packet = header(version)
    for name, value in fields.items():
        setattr(packet, name, value)
    return packet


UNUSUAL = {
    "options": IP(src=ETH0[4], dst=far(4, HOME), options=IPOption(b"\x01\x01\x01\x00"))
    / UDP(dport=9)
    / b"text",
    "record-route": IP(src=ETH0[4], dst=far(4, HOME), options=IPOption(b"\x07\x0b\x04" + bytes(9)))
    / ICMP(),
    "tos": _with(4, tos=0xB9) / UDP(dport=9),
    "first-fragment": IP(src=ETH0[4], dst=far(4, HOME), flags="MF", id=9)
    / UDP(dport=9)
    / bytes(16),
    "last-fragment": IP(src=ETH0[4], dst=far(4, HOME), frag=3, id=9, proto=17) / bytes(19),
    "hop-by-hop": _with(6) / IPv6ExtHdrHopByHop() / UDP(dport=9) / b"text",
    "destination-options": _with(6) / IPv6ExtHdrDestOpt() / TCP(dport=9, flags="A"),
    "flow-label": _with(6, tc=0xB9, fl=0x54321) / ICMPv6EchoRequest(),
    "first-fragment-6": _with(6) / IPv6ExtHdrFragment(m=1, id=5, nh=17) / bytes(16),
    "last-fragment-6": _with(6) / IPv6ExtHdrFragment(offset=2, id=5, nh=17) / bytes(19),
    **{
        f"{protocol}-{version}": of_protocol(version, protocol) / b"unknown to the router"
        for protocol in (47, 50, 132)
        for version in (4, 6)
    },
}


@pytest.mark.parametrize("packet", [pytest.param(bytes(p), id=n) for n, p in UNUSUAL.items()])
def test_it_leaves_unchanged_but_for_its_hop_limit(world: World, packet: bytes) -> None:
    assert twice(world, packet) == []
    assert left(world) == [one_hop_less(packet)] * 2
    assert world.drops == {}


@BOTH
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("hops", [1, 0])
def test_a_hop_limit_that_is_used_up(world: World, version: int, known: bool, hops: int) -> None:
    if known:
        world.send_together([datagram(version)])
    answers = world.send_together([datagram(version, hops=hops)])
    assert error_in(answers) == HOP_LIMIT[version]
    assert len(left(world)) == known
    assert world.drops == {"hop-limit": 1}


# Checksums that are yet to be completed


@BOTH
@pytest.mark.parametrize("size", [0, 1, 2, 999, 1000])
def test_a_checksum_is_completed(world: World, version: int, size: int) -> None:
    packets = (
        datagram(version, size),
        segment(version, payload=bytes(range(1, 250))[:size] or b"x"),
    )
    for packet in packets:
        for _ in range(2):  # by the decision, by the cache
            world.raw.sent.clear()
            assert frames(world, [unsummed(packet)]) == []
            assert left(world) == [one_hop_less(packet)]


@BOTH
@pytest.mark.parametrize("size", [4, 5])
def test_a_udp_sum_of_zero_is_not_sent_as_none(world: World, version: int, size: int) -> None:
    start = 20 if version == 4 else 40
    packet = header(version) / UDP(sport=4000, dport=53) / bytes(size)
    sums = bytes(packet)[start + 6 : start + 8]
    packet = header(version) / UDP(sport=4000, dport=53) / (sums + bytes(size - 2))
    data = bytes(packet)
    assert data[start + 6 : start + 8] == b"\xff\xff", "scapy sends zero as -0"
    world.send_together([data])
    world.raw.sent.clear()
    frames(world, [unsummed(data)])
    assert left(world) == [one_hop_less(data)]


def test_the_largest_packet_there_is(world: World) -> None:
    """With a last byte that is odd, it fills the buffer."""
    packet = bytes(header(4) / UDP(sport=4000, dport=53) / bytes(65_507))
    world.send_together([datagram(4)])
    world.raw.sent.clear()
    assert frames(world, [unsummed(packet)]) == []
    assert left(world) == [one_hop_less(packet)]


# Rules with ports


@BOTH
def test_ports_are_told_apart(tmp_path: Path, version: int) -> None:
    world = direct_world(tmp_path, BY_PORT)
    for _ in range(2):
        world.raw.sent.clear()
        for packet in (datagram(version, dport=54), segment(version, dport=80)):
            assert world.send_together([packet]) == []
            assert left(world).pop() == one_hop_less(packet)
        world.raw.sent.clear()
        assert error_in(world.send_together([datagram(version, dport=53)])) == PROHIBITED[version]
        assert len(world.send_together([segment(version, "S", dport=25)])) == 1
        assert left(world) == []


@BOTH
def test_protocols_are_told_apart(tmp_path: Path, version: int) -> None:
    world = direct_world(tmp_path, BY_PORT)
    twice(world, datagram(version, dport=54))
    echo = bytes(header(version) / (ICMP() if version == 4 else ICMPv6EchoRequest()))
    for _ in range(2):
        assert error_in(world.send_together([echo])) == PROHIBITED[version]
    other = bytes(of_protocol(version, 47) / b"12345678")
    world.raw.sent.clear()
    assert twice(world, other) == []
    assert left(world) == [one_hop_less(other)] * 2


@BOTH
def test_the_ports_of_fragments_are_not_guessed(tmp_path: Path, version: int) -> None:
    """They are put together first, and leave in fragments again."""
    world = direct_world(tmp_path, BY_PORT)
    whole, first, last = _fragmented(version, dport=54)
    assert world.send_together([first]) == []
    assert left(world) == []
    assert world.send_together([last]) == []
    assert left(world) == [one_hop_less(whole)]
    whole, first, last = _fragmented(version, dport=53)
    assert world.send_together([first]) == []
    assert error_in(world.send_together([last])) == PROHIBITED[version]


def _fragmented(version: int, dport: int, size: int = 1600) -> tuple[bytes, bytes, bytes]:
    """A datagram and its two fragments."""
    packet = header(version)
    if version == 4:
        packet.flags = 0
    whole = bytes(packet / UDP(sport=4000, dport=dport) / bytes(size))
    start = 20 if version == 4 else 40
    body = whole[start:]
    if version == 4:
        one: Packet = IP(src=ETH0[4], dst=far(4, HOME), flags="MF", id=7, proto=17) / body[:800]
        two: Packet = IP(src=ETH0[4], dst=far(4, HOME), frag=100, id=7, proto=17) / body[800:]
    else:
        one = header(6) / IPv6ExtHdrFragment(m=1, id=7, nh=17) / body[:800]
        two = header(6) / IPv6ExtHdrFragment(offset=100, id=7, nh=17) / body[800:]
    return whole, bytes(one), bytes(two)


@BOTH
@pytest.mark.parametrize("size", [0, 2, 3])
def test_ports_that_are_cut_off_are_not_those_of_the_packet_before(
    tmp_path: Path, version: int, size: int
) -> None:
    world = direct_world(
        tmp_path,
        RULES.replace(
            f"  - {{cidr: {SUBNETS}, policy: home}}",
            f"  - {{cidr: {SUBNETS}, protocol: udp, port: 54, policy: home}}\n"
            f"  - {{cidr: {SUBNETS}, policy: reject}}",
        ),
    )
    world.send_together([datagram(version, dport=54)])
    world.raw.sent.clear()
    cut_off = bytes(of_protocol(version, ip.UDP) / bytes(size))
    assert error_in(world.send_together([cut_off])) == PROHIBITED[version]
    assert left(world) == []


# What cannot be sent

KNOWN = pytest.mark.parametrize("known", [False, True], ids=["decided", "known"])


def failing(world: World, version: int, known: bool, code: int, packet: bytes) -> list[bytes]:
    """What comes back when the raw socket raises an error, and that the next packet leaves."""
    world.send_together([datagram(version)])
    if not known:
        world.direct.forget()
    refuse(world, code, version)
    answers = world.send_together([packet])
    world.raw.sent.clear()
    assert world.send_together([datagram(version)]) == []
    assert left(world) == [one_hop_less(datagram(version))]
    return answers


@BOTH
@KNOWN
def test_what_the_hosts_firewall_refuses(world: World, version: int, known: bool) -> None:
    answers = failing(world, version, known, errno.EPERM, datagram(version))
    assert error_in(answers) == PROHIBITED[version]
    assert world.drops == {"refused-by-host": 1}


@BOTH
@KNOWN
@pytest.mark.parametrize(
    "code", [errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENODEV]
)
def test_no_route(world: World, version: int, known: bool, code: int) -> None:
    answers = failing(world, version, known, code, datagram(version))
    assert error_in(answers) == NO_ROUTE[version]
    assert world.drops == {"unreachable": 1}


@BOTH
@KNOWN
@pytest.mark.parametrize("code", [errno.EAGAIN, errno.ENOBUFS, errno.EINVAL])
def test_no_room_is_silent(world: World, version: int, known: bool, code: int) -> None:
    assert failing(world, version, known, code, datagram(version)) == []
    assert world.drops == {"no-buffer": 1}


@BOTH
@KNOWN
def test_too_big(world: World, version: int, known: bool) -> None:
    answers = failing(world, version, known, errno.EMSGSIZE, datagram(version, 1400))
    assert error_in(answers) == TOO_BIG[version]
    assert value_in(answers[0]) == 1300
    quoted = answers[0][28 if version == 4 else 48 :]
    assert datagram(version, 1400).startswith(quoted), "as the program has sent it"
    assert world.drops == {"too-big": 1}


@KNOWN
def test_what_is_too_big_and_may_be_fragmented_is(tmp_path: Path, known: bool) -> None:
    world = direct_world(tmp_path, mtu=1400)
    packet = header(4)
    packet.flags = 0
    big = bytes(packet / UDP(sport=4000, dport=53) / bytes(1450))
    world.send_together([datagram(4)])
    if not known:
        world.direct.forget()
    world.raw.sent.clear()
    refuse(world, errno.EMSGSIZE, 4)
    assert world.send_together([big]) == []
    assert len(left(world)) == 2
    assert max(map(len, left(world))) <= 1400
    whole = defragmented(left(world))
    assert bytes(whole[UDP]) == big[20:]
    assert {IP(fragment).ttl for fragment in left(world)} == {63}, "one hop less"


@pytest.mark.parametrize("version", [4, 6])
def test_a_reassembled_datagram_that_is_too_big_leaves_in_fragments(
    tmp_path: Path, version: int
) -> None:
    world = direct_world(tmp_path, BY_PORT, mtu=1400)
    world.send_together([datagram(version, dport=54)])
    world.raw.sent.clear()
    refuse(world, errno.EMSGSIZE, version)
    whole, first, last = _fragmented(version, dport=54)
    assert world.send_together([first, last]) == []
    assert len(left(world)) == 2
    assert bytes(defragmented(left(world))[UDP]) == whole[20 if version == 4 else 40 :]
    hops = {(IP(one).ttl if version == 4 else IPv6(one).hlim) for one in left(world)}
    assert hops == {63}


@BOTH
def test_what_is_no_packet_and_cannot_be_sent_is_counted(world: World, version: int) -> None:
    """The addresses in the buffer may be those of the packet before."""
    for size in (1, 8, 21, 35):
        world.send_together([datagram(version)])
        refuse(world, errno.EPERM, version)
        assert world.send_together([datagram(version)[:size]]) == []
        world.raw.by_source[ETH0[version]].errors.clear()
    assert "refused-by-host" not in world.drops


def test_a_raw_socket_that_cannot_be_opened(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address may have gone between the notification and the packet."""

    def fail(*_: object) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "")

    monkeypatch.setattr(world.raw, "raw_socket", fail)
    assert error_in(world.send(datagram(4))) == NO_ROUTE[4]


# The cache


def test_the_cache_has_a_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path, "MOST", 3)
    for host in range(10, 20):
        world.send_together([datagram(4, host=host)])
    known = world.direct.path.forget()
    assert 0 < len(known) <= 3


def test_the_cache_counts_ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path, "MOST", 3)
    world = direct_world(tmp_path, BY_PORT)
    for port in range(1000, 1010):
        world.send_together([datagram(4, dport=port)])
    (by_port,) = world.direct.path._by_traffic.values()
    assert 0 < len(by_port) <= 3


# The usual flow


@BOTH
def test_a_flow_that_sends_all_packets_names_no_destination(
    world: World, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path, "UNTIL_USUAL", 4)
    usual, other = datagram(version, host=HOME), datagram(version, host=10)
    for _ in range(5):
        twice(world, usual)
    sock = world.raw.by_source[ETH0[version]]
    assert sock.connected == (far(version, HOME), 0)
    world.raw.sent.clear()
    world.send_together([usual, other, usual])
    assert left(world) == [one_hop_less(each) for each in (usual, other, usual)]
    assert [sent.destination for sent in world.raw.sent] == [
        far(version, host) for host in (HOME, 10, HOME)
    ]


@BOTH
def test_another_flow_becomes_the_usual_one(
    world: World, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path, "UNTIL_USUAL", 4)
    for host in (HOME, 10, HOME):
        for _ in range(5):
            twice(world, datagram(version, host=host))
        assert world.raw.by_source[ETH0[version]].connected == (far(version, host), 0)
        assert {sent.destination for sent in world.raw.sent} == {far(version, host)}
        world.raw.sent.clear()


@BOTH
def test_a_flow_that_is_no_longer_the_usual_one_names_its_destination(
    world: World, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one becomes it within a turn."""
    monkeypatch.setattr(path, "UNTIL_USUAL", 4)
    usual, other = datagram(version, host=HOME), datagram(version, host=10)
    world.send_together([other])
    for _ in range(5):
        twice(world, usual)
    world.raw.sent.clear()
    world.send_together([*[other] * 4, usual, usual])
    assert [sent.destination for sent in world.raw.sent] == [
        far(version, host) for host in (*[10] * 4, HOME, HOME)
    ]


def test_flows_in_turn_are_not_usual(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(path, "UNTIL_USUAL", 4)
    for _ in range(8):
        world.send_together([datagram(4, host=HOME), datagram(4, host=10)])
    assert world.raw.by_source[ETH0[4]].connected is None


def test_an_error_about_the_usual_flow_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path, "UNTIL_USUAL", 4)
    for _ in range(5):
        twice(world, datagram(4))
    refuse(world, errno.EPERM, 4)
    assert error_in(world.send_together([datagram(4)])) == PROHIBITED[4]


def test_what_is_decided_anew_is_sent_by_its_own_sender(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path, "UNTIL_USUAL", 4)
    for _ in range(5):
        twice(world, datagram(4))
    world.direct.forget()
    world.raw.by_source[ETH0[4]].connected = None  # to be used no more
    twice(world, datagram(4))
    assert world.raw.sent[-1].destination == far(4, HOME)


def test_without_a_way_to_it_no_flow_is_usual(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(path, "UNTIL_USUAL", 4)
    twice(world, datagram(4))

    def refused(_: object) -> None:
        raise OSError(errno.ENETUNREACH, "")

    monkeypatch.setattr(world.raw.by_source[ETH0[4]], "connect", refused)
    for _ in range(5):
        twice(world, datagram(4))
    assert left(world) == [one_hop_less(datagram(4))] * 12


# Datagrams that may leave together


@BOTH
@pytest.mark.parametrize("last", ["summed", "fragment", "other"])
def test_datagrams_stay_in_their_order(world: World, version: int, last: str) -> None:
    packets = [datagram(version, size) for size in (8, 9, 10)]
    given = [unsummed(packet) for packet in packets]
    if last == "fragment":
        packets.append(_fragmented(version, dport=53)[1])
    else:
        packets.append(datagram(version, 11) if last == "summed" else segment(version))
    given.append(offload.NOTHING_LEFT + packets[-1])
    frames(world, given)
    assert left(world) == [one_hop_less(packet) for packet in packets]


@BOTH
def test_a_datagram_that_the_firewall_has_not_judged_is_no_sample(
    world: World, version: int
) -> None:
    given = unsummed(datagram(version))
    frames(world, [given])
    refuse(world, errno.EAGAIN, version)
    frames(world, [given] * 4)
    assert len(left(world)) == 2, "the second is the sample"
    assert len(world.raw.frames.sent) == 1, "the others leave together"
