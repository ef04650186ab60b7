"""Forwarding of UDP: out by a socket for each mapping, answers back, whole or in fragments."""

from __future__ import annotations

from ipaddress import ip_address
from random import Random

import pytest

from router.flows.drops import Drop
from router.wire import ip
from router.wire.fragments import split
from tests.unit.engine.udp.cases import (
    BOTH,
    HOME,
    OFFICE,
    PORT_UNREACHABLE,
    datagram,
    endpoint,
    error_in,
    only_socket,
)
from tests.unit.engine.udp.memory import AT_ONCE, received
from tests.unit.engine.world import OWN, World, far
from tests.unit.wire.packets import INSIDE, IP, UDP, IPv6, Raw, decoded


@BOTH
@pytest.mark.parametrize(("host", "interface"), [(HOME, "eth0"), (OFFICE, "wg0")])
def test_a_datagram_goes_out_by_its_rule_and_its_answer_comes_back(
    world: World, version: int, host: int, interface: str
) -> None:
    assert world.send(datagram(version, host)) == []
    sock = only_socket(world)
    assert (sock.interface, sock.port) == (interface, 4000)
    assert sock.source == ip_address(OWN[interface][version == 6]).packed
    (sent,) = sock.sent
    assert (sent.payload, sent.address) == (b"hello", (far(version, host), 7))
    sock.incoming = [received(b"world!", endpoint(version, host), 60, 0x20)]
    (delivered,) = world.receive(sock)
    read = decoded(delivered)
    assert (read.src, read.dst) == (far(version, host), INSIDE[version])
    assert (read[UDP].sport, read[UDP].dport) == (7, 4000)
    assert bytes(read[UDP].payload) == b"world!"
    assert (read.ttl, read.tos) == (59, 0x20) if version == 4 else (read.hlim, read.tc) == (59, 32)
    assert world.drops == {}


@BOTH
def test_req_13_datagrams_without_df_may_be_fragmented(world: World, version: int) -> None:
    whole = datagram(version, payload=bytes(4000), dont_fragment=False)
    for fragment in split(whole, 1500, 77):
        world.send(fragment)
    (sent,) = only_socket(world).sent
    assert len(sent.payload) == 4000
    assert not sent.dont_fragment


@BOTH
@pytest.mark.parametrize("size", [0, 1, 1473, 8000, 65507])
def test_req_14_fragments_in_any_order_and_long_answers(
    world: World, version: int, size: int
) -> None:
    """RFC 4787 REQ-14."""
    payload = Random(size).randbytes(size)
    fragments = list(split(datagram(version, payload=payload, dont_fragment=False), 1500, 7))
    Random(1).shuffle(fragments)
    for fragment in fragments if size > 1400 else [datagram(version, payload=payload)]:
        world.send(fragment)
    sock = only_socket(world)
    assert [sent.payload for sent in sock.sent] == [payload]
    sock.incoming = [received(payload, endpoint(version), 60, 0)]
    packets = world.receive(sock)
    assert all(len(packet) <= world.tun.mtu for packet in packets)
    body = b"".join(bytes(ip.parse(packet).body) for packet in packets)
    assert body[8:] == payload


@BOTH
def test_each_datagram_leaves_with_its_own_hop_limit_and_traffic_class(
    world: World, version: int
) -> None:
    for hop_limit, traffic_class in ((64, 0), (64, 0xB8), (2, 0xB8), (255, 0), (64, 0)):
        world.send(datagram(version, hop_limit=hop_limit, traffic_class=traffic_class))
    sent = [(one.hop_limit, one.traffic_class) for one in only_socket(world).sent]
    assert sent == [(63, 0), (63, 0xB8), (1, 0xB8), (254, 0), (63, 0)]


@BOTH
def test_an_answer_whose_hop_limit_is_used_up_is_dropped(world: World, version: int) -> None:
    world.send(datagram(version))
    sock = only_socket(world)
    sock.incoming = [received(b"late", endpoint(version), 1, 0)]
    assert world.receive(sock) == []
    assert world.drops == {"hop-limit": 1}


@BOTH
def test_wrong_checksums_are_dropped_and_counted(world: World, version: int) -> None:
    for known in (False, True):
        assert world.send(datagram(version, chksum=0x1234)) == []
        assert len(world.udp.sockets) == known
        world.send(datagram(version))
    assert len(only_socket(world).sent) == 2
    assert world.drops == {"bad-checksum": 2}


@BOTH
def test_no_checksum_is_a_right_one_in_ipv4_alone(world: World, version: int) -> None:
    world.send(datagram(version, chksum=0))
    assert len(world.udp.sockets) == (version == 4)
    assert world.drops == ({} if version == 4 else {"bad-checksum": 1})


@BOTH
def test_data_behind_the_datagram_is_cut_off(world: World, version: int) -> None:
    body = datagram(version, payload=b"hell")[20 if version == 4 else 40 :]
    if version == 4:
        packet = bytes(IP(src=INSIDE[4], dst=far(4, HOME), proto=17) / Raw(body + b"padding"))
    else:
        packet = bytes(IPv6(src=INSIDE[6], dst=far(6, HOME), nh=17) / Raw(body + b"padding"))
    world.send(packet)
    (sent,) = only_socket(world).sent
    assert sent.payload == b"hell"


@BOTH
def test_port_zero_cannot_be_reached(world: World, version: int) -> None:
    assert error_in(world.send(datagram(version, dport=0)))[1] == PORT_UNREACHABLE[version]
    assert not world.udp.sockets
    world.send(datagram(version, sport=0))
    assert only_socket(world).port != 0


@BOTH
def test_a_datagram_of_ours_that_comes_back_is_a_loop(world: World, version: int) -> None:
    world.send(datagram(version))
    looped = datagram(version, source=OWN["eth0"][version == 6])
    assert world.send(looped) == []
    assert world.drops == {"loop": 1}


@BOTH
def test_a_flood_on_one_socket_does_not_starve_the_others(world: World, version: int) -> None:
    world.send(datagram(version))
    sock = only_socket(world)
    sock.incoming = [received(b"", endpoint(version), 60, 0)] * (AT_ONCE + 10)
    assert len(world.receive(sock)) == AT_ONCE
    assert len(world.receive(sock)) == 10


@BOTH
def test_damaged_datagrams_never_raise(world: World, version: int) -> None:
    """Every byte flipped, every length: each is counted, refused or carried."""
    good = datagram(version, payload=bytes(range(20)))
    world.send(good)
    for at in range(len(good)):
        damaged = bytearray(good)
        damaged[at] ^= 0xFF
        world.send(bytes(damaged))
        world.send(good[:at])
    start = 20 if version == 4 else 40
    for size in range(len(good) - start):
        cut = bytearray(good[: start + size])
        field = slice(2, 4) if version == 4 else slice(4, 6)
        cut[field] = (size + (20 if version == 4 else 0)).to_bytes(2, "big")
        world.send(bytes(cut))
    assert {sent.payload for sock in world.udp.sockets for sent in sock.sent} == {bytes(range(20))}
    assert world.drops[Drop.MALFORMED] > 0
    assert world.drops[Drop.BAD_CHECKSUM] > 0
