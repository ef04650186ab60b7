"""Packets and bytes are counted for the policy that applied and the rule that chose it."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.unit.engine.udp.memory import run
from tests.unit.engine.world import OWN, RULES, World, far, reply_to
from tests.unit.wire.packets import INSIDE, IP, UDP, IPv6, Packet, Raw, echo_request

BOTH = pytest.mark.parametrize("version", [4, 6])
REPLY, DROP, REJECT, OFFICE, CAREFUL, HOME = 1, 2, 3, 4, 5, 6
"""Hosts, and the rules about them."""
UDP_HEADERS = {4: 28, 6: 48}

Numbers = tuple[int, int, int, int]


def ping(version: int, host: int, hop_limit: int = 64) -> bytes:
    return echo_request(version, destination=far(version, host), hop_limit=hop_limit)


def datagram(version: int, host: int, payload: bytes, sport: int = 4000) -> bytes:
    header: Packet = (
        IP(src=INSIDE[4], dst=far(4, host), flags="DF")
        if version == 4
        else IPv6(src=INSIDE[6], dst=far(6, host))
    )
    return bytes(header / UDP(sport=sport, dport=7) / Raw(payload))


def counted(world: World) -> dict[tuple[str, int], Numbers]:
    """By policy and rule: packets and bytes out, packets and bytes in."""
    return {
        (each.policy, each.rule): (
            *(each.packets_out, each.bytes_out, each.packets_in, each.bytes_in),
        )
        for each in world.forwarder.tallies
    }


def flows(world: World) -> dict[tuple[str, int], int]:
    return {(each.policy, each.rule): each.flows for each in world.forwarder.tallies}


@BOTH
def test_pings_and_their_answers(world: World, version: int) -> None:
    for _ in range(3):
        world.send(ping(version, HOME))
    request, outside_id = world.sent("home", version)[-1]
    size = len(request.data)
    own = OWN["eth0"][version == 6]
    world.answer("home", reply_to(request, outside_id, own))
    assert counted(world) == {("home", HOME): (3, 3 * size, 1, size)}
    assert flows(world) == {("home", HOME): 1}
    assert world.carriers.counts() == {"icmp": 1, "udp": 0, "tcp": 0}
    world.forwarder.expire(100.0)
    assert flows(world) == {("home", HOME): 0}
    assert counted(world) == {("home", HOME): (3, 3 * size, 1, size)}, (
        "counters do not change afterwards"
    )


@BOTH
def test_pings_in_frames_are_sent_and_counted_as_others(world: World, version: int) -> None:
    first, second = ping(version, HOME), ping(version, HOME, hop_limit=9)
    world.send(first)
    assert world.send_together([second]) == []
    (_, number), (sent, again) = world.sent("home", version)
    assert (sent.data, again) == (second, number)
    size = len(first)
    assert counted(world) == {("home", HOME): (2, 2 * size, 0, 0)}
    [flow] = world.carriers.flows()
    assert (flow.packets_out, flow.bytes_out) == (2, 2 * size)


@BOTH
def test_what_the_router_answers_itself(world: World, version: int) -> None:
    size = len(ping(version, REPLY))
    for host in (REPLY, DROP, REJECT, REJECT):
        world.send(ping(version, host))
    world.send(datagram(version, REPLY, b"hello"))
    assert counted(world) == {
        ("reply", REPLY): (2, size + UDP_HEADERS[version] + 5, 1, size),
        ("drop", DROP): (1, size, 0, 0),
        ("reject", REJECT): (2, 2 * size, 0, 0),
    }
    assert set(flows(world).values()) == {0}


@BOTH
def test_a_policy_that_is_down_counts_for_the_one_that_applies(world: World, version: int) -> None:
    world.send(ping(version, CAREFUL))
    assert counted(world) == {("drop", CAREFUL): (1, len(ping(version, CAREFUL)), 0, 0)}


@BOTH
def test_refused_packets_are_not_counted_as_sent(world: World, version: int) -> None:
    world.send(ping(version, HOME, hop_limit=1))
    assert counted(world) == {("home", HOME): (0, 0, 0, 0)}
    assert world.drops == {"hop-limit": 1}


@BOTH
def test_datagrams_alone_and_together(world: World, version: int) -> None:
    sizes = [1, 100, 100, 100, 7]
    world.send(datagram(version, HOME, bytes(sizes[0])))
    world.send_together([datagram(version, HOME, bytes(size)) for size in sizes[1:]])
    (sock,) = world.udp.open
    assert max(sock.runs) > 1
    headers = UDP_HEADERS[version]
    out = (5, sum(sizes) + 5 * headers)
    assert counted(world) == {("home", HOME): (*out, 0, 0)}
    sock.incoming = [run([b"x" * 50, b"x" * 50, b"x" * 20], (far(version, HOME), 7))]
    world.receive(sock)
    assert counted(world) == {("home", HOME): (*out, 3, 120 + 3 * headers)}
    assert world.carriers.counts() == {"icmp": 0, "udp": 1, "tcp": 0}


@BOTH
def test_the_default_is_rule_0(tmp_path: Path, version: int) -> None:
    world = World(tmp_path, RULES + "default: office\n")
    elsewhere = "192.0.2.77" if version == 4 else "2001:db8:77::1"
    packet = echo_request(version, destination=elsewhere)
    world.send(packet)
    assert counted(world) == {("office", 0): (1, len(packet), 0, 0)}


def test_bypass_in_the_tun(world: World) -> None:
    packet = bytes(IP(src=INSIDE[4], dst="203.0.113.9") / UDP(sport=1, dport=2) / Raw(b"abc"))
    world.send(packet)
    assert counted(world) == {("bypass", 0): (1, len(packet), 0, 0)}


@BOTH
def test_a_flow_is_counted_again_when_the_system_counts_its_answers(
    world: World, version: int
) -> None:
    world.send(ping(version, HOME))
    [before] = world.forwarder.tallies
    assert (before.flows, before.is_counted_outside) == (1, False)
    world.covered.add(("home", version, int(ip_address(far(version, HOME)))))
    world.forwarder.rules.count_again(world.carriers)
    _, after = world.forwarder.tallies
    assert (before.flows, after.flows, after.is_counted_outside) == (0, 1, True)
    world.send(ping(version, HOME))
    assert (before.packets_out, after.packets_out) == (1, 1)
    assert not after.misses_answers
