"""Answers of hosts behind this machine that no flow is about leave unchanged."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from router.engine import held_packets
from router.engine.held_packets import OVERHEAD, PATIENCE
from router.engine.transit import ASKED_AGAIN
from router.platform.base.packet_filter import TrackedRequest
from router.wire import icmp, ip
from router.wire.icmp import Error
from tests.unit.engine.world import ETH0, World, far
from tests.unit.wire.packets import INSIDE, IP, TCP, UDP, IPv6, decoded, echo_request

BOTH = pytest.mark.parametrize("version", [4, 6])
LAN = {4: "10.1.0.2", 6: "fd01::2"}
HOME = 6
FAR = {4: "203.0.113.9", 6: "2001:db8:113::9"}
"""Captured for TCP, and reached by eth0 as the system's own routes say."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, local={"eth0": ETH0})
    made.outbound("home").interfaces = ["eth0"]
    return made


def segment(version: int, flags: str, *, seq: int = 5, source: str = "") -> bytes:
    body = TCP(sport=80, dport=4000, flags=flags, seq=seq, ack=9)
    source = source or LAN[version]
    if version == 4:
        return bytes(IP(src=source, dst=FAR[4], ttl=63) / body)
    return bytes(IPv6(src=source, dst=FAR[6], hlim=63) / body)


def sent(world: World) -> list[bytes]:
    return [each.packet for each in world.raw.sent]


@BOTH
def test_segments_of_an_accepted_connection_leave_unchanged(world: World, version: int) -> None:
    packets = [segment(version, flags) for flags in ("SA", "A", "PA", "FA")]
    for packet in packets:
        assert world.send(packet) == []
    assert sent(world) == packets
    assert {each.interface for each in world.raw.sent} == {"eth0"}
    assert world.drops == {}


@BOTH
def test_the_reset_of_a_closed_port_leaves_unchanged(world: World, version: int) -> None:
    packet = segment(version, "RA", seq=0)
    assert world.send(packet) == []
    assert sent(world) == [packet]


@BOTH
def test_what_no_accepted_connection_is_known_of_is_reset(world: World, version: int) -> None:
    for flags in ("A", "PA", "FA"):
        (reset,) = world.send(segment(version, flags))
        assert decoded(reset)[TCP].flags == "R"
    assert world.send(segment(version, "RA")) == []
    assert world.drops == {"no-connection": 4}
    assert sent(world) == []


@BOTH
def test_a_request_of_the_same_ends_is_dialled_and_ends_that(world: World, version: int) -> None:
    world.send(segment(version, "SA"))
    assert world.send(segment(version, "S")) == []
    (dialled,) = world.tcp.dialled
    assert dialled.address == (FAR[version], 4000)
    world.carriers.streams.close()
    world.raw.sent.clear()
    assert decoded(world.send(segment(version, "A"))[0])[TCP].flags == "R"
    assert sent(world) == []


@BOTH
def test_nothing_of_the_tuns_own_address_leaves_so(world: World, version: int) -> None:
    assert len(world.send(segment(version, "SA", source=INSIDE[version]))) == 1
    assert sent(world) == []


@BOTH
def test_answers_to_pings_and_errors_leave_unchanged(world: World, version: int) -> None:
    request = echo_request(version, source=FAR[version], destination=LAN[version])
    reply = icmp.echo_reply(ip.parse(request))
    lan = ip_address(LAN[version]).packed
    error = icmp.error(lan, ip.parse(request), Error.PROHIBITED, 0)
    for packet in (reply, error):
        assert world.send(packet) == []
    assert sent(world) == [reply, error]


@BOTH
def test_without_a_route_the_sender_is_told(world: World, version: int) -> None:
    world.outbounds.by_system = lambda version, address: None  # type: ignore[method-assign]
    assert len(world.send(segment(version, "SA"))) == 1
    assert world.drops == {"unreachable": 1}


def datagram(version: int, dport: int = 4000) -> bytes:
    body = UDP(sport=53, dport=dport) / b"answer"
    if version == 4:
        return bytes(IP(src=LAN[4], dst=FAR[4], ttl=63) / body)
    return bytes(IPv6(src=LAN[6], dst=FAR[6], hlim=63) / body)


@BOTH
def test_datagrams_leave_unchanged_while_they_answer_a_tracked_request(
    world: World, version: int
) -> None:
    packet = datagram(version)
    request = ip_address(LAN[version]).packed, ip_address(FAR[version]).packed
    world.requests[request] = TrackedRequest(is_translated=False)
    assert world.send(packet) == []
    del world.requests[request]
    world.send(packet, now=1.0 + ASKED_AGAIN - 0.1)
    assert sent(world) == [packet, packet]
    world.send(packet, now=1.0 + ASKED_AGAIN)
    assert sent(world) == [packet, packet]


@BOTH
def test_datagrams_are_held_until_the_request_is_known(world: World, version: int) -> None:
    """Nothing else waits meanwhile."""
    packet, other = datagram(version), datagram(version, dport=4001)
    request = ip_address(LAN[version]).packed, ip_address(FAR[version]).packed
    world.requests[request] = TrackedRequest(is_translated=False)
    world.replies_at_once = False
    for each in (packet, other, packet):
        assert world.send(each) == []
    assert (sent(world), world.asked) == ([], 2)
    world.send(segment(version, "SA"))
    assert sent(world) == [segment(version, "SA")]
    world.raw.sent.clear()
    world.reply()
    assert sent(world) == [packet, packet, other]
    assert world.drops == {}


@BOTH
def test_datagrams_that_answer_nothing_begin_a_flow_when_that_is_known(
    world: World, version: int
) -> None:
    world.replies_at_once = False
    for _ in range(2):
        world.send(begin(version))
    assert world.carriers.counts()["udp"] == 0
    world.reply()
    assert world.carriers.counts()["udp"] == 1
    assert len(world.udp.sockets[0].sent) == 2
    assert world.asked == 1
    world.send(begin(version))
    assert world.asked == 1


@BOTH
def test_no_datagram_waits_for_a_guard_that_is_stopped(world: World, version: int) -> None:
    """Longer than PATIENCE; those that come later do not wait at all."""
    world.replies_at_once = False
    world.send(begin(version))
    world.timers.run_until(1.0 + PATIENCE - 0.01)
    assert world.carriers.counts()["udp"] == 0
    world.timers.run_until(1.0 + PATIENCE)
    assert world.carriers.counts()["udp"] == 1
    world.is_late = True
    world.send(begin(version, sport=1234))
    assert world.carriers.counts()["udp"] == 2
    world.reply()
    assert world.carriers.counts()["udp"] == 2
    assert world.drops == {}


@BOTH
def test_of_what_is_held_there_is_a_limit(
    world: World, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.replies_at_once = False
    monkeypatch.setattr(held_packets, "MOST_KEYS", 2)
    for port in (1001, 1002, 1003):
        world.send(begin(version, sport=port))
    assert world.carriers.counts()["udp"] == 1
    monkeypatch.setattr(held_packets, "MOST_BYTES", 2 * (OVERHEAD + len(begin(version))))
    for _ in range(2):
        world.send(begin(version, sport=1002))
    assert world.carriers.counts()["udp"] == 2
    world.reply()
    assert world.carriers.counts()["udp"] == 3


@BOTH
def test_what_is_held_goes_on_later_than_once(world: World, version: int) -> None:
    """The patience of each begins when it comes."""
    world.replies_at_once = False
    world.send(begin(version, sport=1001), now=1.0)
    world.send(begin(version, sport=1002), now=1.0 + PATIENCE / 2)
    world.timers.run_until(1.0 + PATIENCE)
    assert world.carriers.counts()["udp"] == 1
    world.timers.run_until(1.0 + 2 * PATIENCE)
    assert world.carriers.counts()["udp"] == 2


def begin(version: int, sport: int = 1000) -> bytes:
    """The first datagram of a flow of a LAN host."""
    body = UDP(sport=sport, dport=7) / b"question"
    if version == 4:
        return bytes(IP(src=LAN[4], dst=far(4, HOME), ttl=63) / body)
    return bytes(IPv6(src=LAN[6], dst=far(6, HOME), hlim=63) / body)
