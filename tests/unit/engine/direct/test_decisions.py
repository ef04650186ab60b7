"""Each row of the table in docs/adr/016-direct-path.md, and what a change of the rules does."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

import pytest

from router.engine.held_packets import PATIENCE
from router.wire import icmp, ip
from tests.unit.engine.direct.cases import (
    ETH0,
    HOME,
    LAN,
    OFFICE,
    PROHIBITED,
    WG0,
    datagram,
    direct_world,
    error_in,
    header,
    left,
    of_protocol,
    one_hop_less,
    reload,
    segment,
    twice,
)
from tests.unit.engine.world import RULES, World, far
from tests.unit.wire.packets import INSIDE, TCP, UDP, decoded, echo_request

BOTH = pytest.mark.parametrize("version", [4, 6])


PACKETS = {
    "request": lambda version, source: segment(version, "S", source=source),
    "segment": lambda version, source: segment(version, source=source),
    "reset": lambda version, source: segment(version, "R", source=source),
    "udp": lambda version, source: datagram(version, source=source),
    "query": lambda version, source: echo_request(
        version, source=source[version], destination=far(version, HOME)
    ),
    "answer": lambda version, source: icmp.echo_reply(
        ip.parse(echo_request(version, source=far(version, HOME), destination=source[version]))
    ),
    "other": lambda version, source: bytes(of_protocol(version, 132, source) / b"12345678"),
}
OTHERWISE = RULES.replace(
    'cidr: [198.51.100.0/24, "2001:db8:100::/64"], policy: home',
    'cidr: [198.51.100.0/24, "2001:db8:100::/64"], policy: office',
)
EVERYTHING = RULES + '  - {cidr: [0.0.0.0/0, "::/0"], policy: home}\n'
RELAYED = RULES.replace("interface: eth0}", "interface: eth0, path: relay}")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return direct_world(tmp_path)


# From an address of the outbound that the rule names


@BOTH
@pytest.mark.parametrize("kind", list(PACKETS))
@pytest.mark.parametrize(
    ("source", "interface", "host"),
    [(ETH0, "eth0", HOME), (WG0, "wg0", OFFICE)],
    ids=["home", "vpn"],
)
def test_everything_leaves_directly(
    world: World, version: int, kind: str, source: Mapping[int, str], interface: str, host: int
) -> None:
    data = _towards(PACKETS[kind](version, source), version, host)
    assert twice(world, data) == []
    assert left(world) == [one_hop_less(data)] * 2
    assert {(sent.interface, sent.source, sent.destination) for sent in world.raw.sent} == {
        (interface, source[version], far(version, host))
    }
    assert world.drops == {}


def _towards(packet: bytes, version: int, host: int) -> bytes:
    """The same to another far host; its checksum is of no interest here."""
    data = bytearray(packet)
    data[19 if version == 4 else 39] = host
    return bytes(data)


@BOTH
def test_it_is_counted_for_its_rule(world: World, version: int) -> None:
    packet = datagram(version)
    twice(world, packet)
    (tally,) = [each for each in world.forwarder.tallies if each.packets_out]
    assert (tally.packets_out, tally.bytes_out) == (2, 2 * len(packet))


# From an address of another interface


@BOTH
@pytest.mark.parametrize("kind", ["segment", "reset", "answer"])
@pytest.mark.parametrize(("source", "interface"), [(WG0, "wg0"), (LAN, "lan0")])
def test_an_answer_of_a_local_server_leaves_by_the_interface_of_its_source(
    world: World, version: int, kind: str, source: Mapping[int, str], interface: str
) -> None:
    packet = PACKETS[kind](version, source)
    assert world.send(packet) == []
    ((data, name, _, _),) = world.raw.sent
    assert (data, name) == (packet, interface)


@BOTH
def test_an_error_of_a_local_server_leaves_by_the_interface_of_its_source(
    world: World, version: int
) -> None:
    request = ip.parse(
        bytes(header(version, {version: far(version, HOME)}) / UDP(sport=9, dport=10))
    )
    data = bytearray(request.data)
    at = slice(16, 20) if version == 4 else slice(24, 40)
    data[at] = ip.parse(datagram(version, source=LAN)).source
    error = icmp.error(
        ip.parse(datagram(version, source=LAN)).source,
        ip.parse(bytes(data)),
        icmp.Error.PORT_UNREACHABLE,
    )
    assert world.send(error) == []
    assert [(sent.packet, sent.interface) for sent in world.raw.sent] == [(error, "lan0")]


@BOTH
@pytest.mark.parametrize("source", [WG0, LAN, INSIDE], ids=["vpn", "lan", "tun"])
def test_anything_else_is_relayed(world: World, version: int, source: Mapping[int, str]) -> None:
    assert world.send(PACKETS["request"](version, source)) == []
    assert len(world.tcp.dialled) == 1
    assert world.send(PACKETS["query"](version, source)) == []
    assert len(world.sent("home", version)) == 1
    assert world.send(PACKETS["udp"](version, source)) == []
    assert left(world) == []


@BOTH
def test_another_protocol_from_another_interface_is_refused(world: World, version: int) -> None:
    (answer,) = world.send(PACKETS["other"](version, LAN))
    assert decoded(answer).payload.type == (3 if version == 4 else 4)
    assert left(world) == []


@BOTH
def test_packets_whose_socket_is_not_open_yet_leave_when_it_is(world: World, version: int) -> None:
    packets = [segment(version, "S", source=ETH0, dport=port) for port in (80, 81)]
    world.raw.replies_at_once = False
    for packet in packets:
        assert world.send(packet) == []
    world.send(PACKETS["other"](version, LAN))
    assert len(world.tun.written) == 1, "nothing else waits"
    assert left(world) == []
    world.raw.reply()
    assert left(world) == [one_hop_less(packet) for packet in packets]
    assert world.drops.keys() == {"protocol-refused"}


@BOTH
def test_packets_whose_socket_is_not_opened_in_time_are_lost(world: World, version: int) -> None:
    world.raw.replies_at_once = False
    assert world.send(segment(version, "S", source=ETH0)) == []
    world.timers.run_until(1.0 + PATIENCE)
    assert world.drops == {"no-buffer": 1}
    world.raw.reply()
    assert left(world) == []


@BOTH
def test_a_packet_whose_socket_cannot_be_opened_is_refused_when_that_is_known(
    world: World, version: int
) -> None:
    world.raw.replies_at_once = False
    world.raw.error = OSError(errno.EADDRNOTAVAIL, "")
    assert world.send(segment(version, "S", source=ETH0)) == []
    world.raw.reply()
    assert world.drops == {"unreachable": 1}
    assert len(world.tun.written) == 1


@BOTH
def test_a_packet_for_which_no_socket_is_to_be_expected_is_lost(world: World, version: int) -> None:
    """The guard is late: no packet waits for it, and no error is true."""
    packet = segment(version, "S", source=ETH0)
    world.raw.late = True
    assert world.send(packet) == []
    assert world.drops == {"no-buffer": 1}
    world.raw.late = False
    assert world.send(packet) == []
    assert left(world) == [one_hop_less(packet)]


@BOTH
def test_what_no_outbound_carries_does_not_leave(world: World, version: int) -> None:
    assert len(world.send(segment(version, "S", host=3))) == 1
    assert world.send(segment(version, "S", host=2)) == []
    assert (
        len(world.send(echo_request(version, source=ETH0[version], destination=far(version, 1))))
        == 1
    )
    assert left(world) == []


@BOTH
def test_the_router_itself_answers_own_addresses(tmp_path: Path, version: int) -> None:
    world = direct_world(tmp_path, EVERYTHING)
    peer = "192.168.7.2" if version == 4 else "fd77::2"
    for source in (ETH0, LAN):
        (answer,) = world.send(echo_request(version, source=source[version], destination=peer))
        assert decoded(answer).src == peer
    assert left(world) == []


@BOTH
def test_what_bypasses_inside_the_tun_leaves_directly(world: World, version: int) -> None:
    destination = "203.0.113.5" if version == 4 else "2001:db8:113::5"
    request = echo_request(version, source=ETH0[version], destination=destination)
    assert twice(world, request) == []
    assert left(world) == [one_hop_less(request)] * 2


# The relayed path is forced


@BOTH
@pytest.mark.parametrize("forced", ["policy", "obstacle"])
def test_what_begins_is_relayed_and_what_goes_on_is_not(
    tmp_path: Path, version: int, forced: str
) -> None:
    world = direct_world(tmp_path, RELAYED if forced == "policy" else RULES)
    if forced == "obstacle":
        world.obstacle = "the host translates addresses"
    assert world.send_together([PACKETS["request"](version, ETH0)]) == []
    assert len(world.tcp.dialled) == 1
    assert world.send_together([PACKETS["query"](version, ETH0)]) == []
    assert len(world.sent("home", version)) == 1
    assert left(world) == []
    other = segment(version, sport=4001)
    assert twice(world, other) == []
    assert left(world) == [one_hop_less(other)] * 2


@BOTH
def test_a_request_is_relayed_after_segments_have_gone_on(tmp_path: Path, version: int) -> None:
    """What goes on directly is not cached for its addresses, as a request may come that must be
    seen."""
    world = direct_world(tmp_path, RELAYED)
    twice(world, segment(version, sport=4001))
    assert world.send_together([PACKETS["request"](version, ETH0)]) == []
    assert len(world.tcp.dialled) == 1
    assert len(left(world)) == 2


@BOTH
def test_a_connection_that_is_relayed_stays_so_when_the_obstacle_goes(
    world: World, version: int
) -> None:
    world.obstacle = "the host translates addresses"
    world.send_together([segment(version, "S")])
    world.obstacle = None
    world.direct.forget()
    world.send_together([datagram(version)])
    assert left(world) == [one_hop_less(datagram(version))]
    world.send_together([segment(version, "S")])
    assert left(world) == [one_hop_less(datagram(version))], "the flow that is known takes it"
    assert len(world.tcp.dialled) == 1


# The rules change


@BOTH
def test_a_former_connection_is_reset(world: World, tmp_path: Path, version: int) -> None:
    twice(world, segment(version))
    reload(world, tmp_path, OTHERWISE)
    for _ in range(2):
        (answer,) = world.send_together([segment(version)])
        assert "R" in decoded(answer)[TCP].flags
    assert len(left(world)) == 2
    assert world.drops == {"no-connection": 2}


@BOTH
def test_the_other_end_of_a_former_connection_is_reset_by_the_system(
    world: World, tmp_path: Path, version: int
) -> None:
    """Which knows of none any more when something arrives."""
    twice(world, segment(version))
    reload(world, tmp_path, OTHERWISE)
    world.raw.sent.clear()
    assert world.send_together([segment(version, "R")]) == []
    assert [(sent.packet, sent.interface) for sent in world.raw.sent] == [
        (segment(version, "R"), "eth0")
    ]


@BOTH
def test_a_former_connection_of_a_local_server_goes_on(
    world: World, tmp_path: Path, version: int
) -> None:
    twice(world, segment(version, sport=4000))
    world.listening.add((ip.parse(segment(version)).source, 4000))
    reload(world, tmp_path, OTHERWISE)
    world.raw.sent.clear()
    assert world.send_together([segment(version)]) == []
    assert [(sent.packet, sent.interface) for sent in world.raw.sent] == [
        (segment(version), "eth0")
    ]


@BOTH
def test_a_new_connection_from_the_former_address_is_relayed(
    world: World, tmp_path: Path, version: int
) -> None:
    twice(world, segment(version))
    reload(world, tmp_path, OTHERWISE)
    assert world.send_together([segment(version, "S", sport=4001)]) == []
    assert len(world.tcp.dialled) == 1


@BOTH
def test_former_udp_is_prohibited_once_and_then_relayed(
    world: World, tmp_path: Path, version: int
) -> None:
    twice(world, datagram(version))
    reload(world, tmp_path, OTHERWISE)
    assert error_in(world.send_together([datagram(version)])) == PROHIBITED[version]
    assert world.send_together([datagram(version)]) == []
    assert len(left(world)) == 2
    assert world.drops == {"udp-refused": 1}


@BOTH
def test_former_udp_that_has_been_refused_leaves_the_connections_former(
    world: World, tmp_path: Path, version: int
) -> None:
    twice(world, datagram(version))
    twice(world, segment(version))
    reload(world, tmp_path, OTHERWISE)
    world.send_together([datagram(version)])
    (answer,) = world.send_together([segment(version)])
    assert "R" in decoded(answer)[TCP].flags


@BOTH
def test_the_same_rules_change_nothing(world: World, tmp_path: Path, version: int) -> None:
    twice(world, segment(version))
    reload(world, tmp_path, RULES)
    assert twice(world, segment(version)) == []
    assert len(left(world)) == 4


@BOTH
def test_a_policy_that_is_relayed_now(world: World, tmp_path: Path, version: int) -> None:
    """Its connections go on; those that begin are relayed."""
    twice(world, segment(version))
    reload(world, tmp_path, RELAYED)
    assert twice(world, segment(version)) == []
    assert len(left(world)) == 4
    assert world.send_together([segment(version, "S", sport=4001)]) == []
    assert len(world.tcp.dialled) == 1


@pytest.mark.parametrize("version", [4, 6])
def test_nothing_leaves_from_an_address_that_has_just_gone(tmp_path: Path, version: int) -> None:
    """By neither path: no answer would arrive. Nor is it told to its sender, who has it no more."""
    world = direct_world(tmp_path)
    assert world.send_together([datagram(version)]) == []
    world.raw.sent.clear()
    world.addresses.refresh({})
    world.forwarder.direct.forget()
    for packet in (datagram(version), segment(version, "S"), segment(version)):
        assert world.send_together([packet]) == []
    assert left(world) == []
    assert world.drops == {"bad-source": 3}
