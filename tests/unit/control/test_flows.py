"""The answer to `flows`: reports of both paths, what is asked for, pieces that are small."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from router.control.flows import BadFilterError, flow_filter, flows
from router.engine.direct.connections import PART
from router.engine.relayed_flows import AT_ONCE
from router.platform.base.connections import Connection, Resent, Traffic
from router.wire import ip
from tests.unit.engine.direct.cases import direct_world
from tests.unit.engine.test_tallies import datagram, ping
from tests.unit.engine.world import OWN, World, close_worlds, far, reply_to
from tests.unit.wire.packets import ICMP, IP, UDP, ICMPv6EchoRequest, IPv6, Raw, echo_request

HOME, OFFICE = 6, 4
TRAFFIC = Traffic(3, 300, 2, 120, 0.5, 0.0123, Resent(2, 1))


def connection(destination: str, protocol: int = ip.TCP, **members: Any) -> Connection:
    """From an address of eth0."""
    source = OWN["eth0"][":" in destination]
    made = Connection(
        *(protocol, ip_address(source).packed, 40000, ip_address(destination).packed, 443),
        *(0, "established", TRAFFIC),
    )
    return made._replace(**members)


class Router:
    """See Running. listed: the connections that the system lists, or why it does not."""

    def __init__(self, world: World) -> None:
        self.loop = SimpleNamespace(now=10.0)
        self.system = SimpleNamespace(facts=self)
        self.config = world.forwarder.config
        self.outbounds = world.outbounds
        self.forwarder = world.forwarder
        self.listed: Sequence[Connection] | OSError = []

    def connections(self, version: int, protocol: int) -> Iterator[Sequence[Connection]]:
        if isinstance(self.listed, OSError):
            raise self.listed
        yield [
            each
            for each in self.listed
            if each.protocol == protocol and len(each.source) == (4 if version == 4 else 16)
        ]

    def pieces(self, **request: Any) -> list[bytes]:
        return list(flows(cast(Any, self), flow_filter(request, self.config)))

    def answer(self, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(b"".join(self.pieces(**request)))
        return answer

    def flows(self, **request: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.answer(**request)["flows"]
        return found


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield direct_world(tmp_path)
    close_worlds()


def test_a_connection_that_is_relayed_is_listed_once(world: World) -> None:
    router = Router(world)
    router.listed = [connection(far(4, HOME), ip.UDP, traffic=None)]
    world.obstacle = "a firewall"
    packet = IP(src=OWN["eth0"][0], dst=far(4, HOME)) / UDP(sport=40000, dport=443) / Raw(b"1")
    world.forwarder.carriers.datagrams.begin(
        ip.parse(bytes(packet)),
        world.outbound("home"),
        world.forwarder.tallies.of("home", HOME),
        1.0,
    )
    assert [flow["path"] for flow in router.flows()] == ["relayed"]


@pytest.mark.parametrize("version", [4, 6])
def test_a_relayed_query(world: World, version: int) -> None:
    packet = ping(version, HOME)
    world.send(packet, 2.0)
    world.send(packet, 3.0)
    request, outside_id = world.sent("home", version)[0]
    own = OWN["eth0"][version == 6]
    world.answer("home", reply_to(request, outside_id, own), 2.25)
    (flow,) = Router(world).flows()
    sent, size = ip.parse(packet), len(packet)
    identifier = flow["source_port"]
    assert flow == {
        **{"protocol": "icmp", "source": ip.format_address(sent.source)},
        **{"source_port": identifier, "destination": far(version, HOME)},
        **{"destination_port": identifier, "policy": "home", "rule": HOME, "interface": "eth0"},
        **{"outside": flow["outside"], "outside_port": outside_id, "state": "answered"},
        **{"age_s": 8.0, "idle_s": 7.75, "packets_out": 2, "bytes_out": 2 * size},
        **{"packets_in": 1, "bytes_in": size, "path": "relayed", "rtt_ms": 250.0},
    }


def test_an_outside_that_is_not_known(world: World) -> None:
    world.send(datagram(4, HOME, b"12345"))
    world.outbound("home").own = {}
    (flow,) = Router(world).flows()
    assert (flow["outside"], flow["outside_port"]) == (None, None)


def test_relayed_datagrams_count_for_their_flow(world: World) -> None:
    for port in (4000, 4001):
        for _ in range(2):
            world.send(datagram(4, HOME, b"12345", sport=port))
    found = Router(world).flows(protocol="udp")
    assert [flow["source_port"] for flow in found] == [4000, 4001]
    assert {(flow["packets_out"], flow["bytes_out"]) for flow in found} == {(2, 66)}
    assert {flow["state"] for flow in found} == {"unanswered"}
    assert "rtt_ms" not in found[0]


@pytest.mark.parametrize("version", [4, 6])
def test_a_direct_connection(world: World, version: int) -> None:
    router = Router(world)
    router.listed = [connection(far(version, HOME))]
    (flow,) = router.flows()
    assert flow == {
        **{"protocol": "tcp", "source": OWN["eth0"][version == 6], "source_port": 40000},
        **{"destination": far(version, HOME), "destination_port": 443, "policy": "home"},
        **{"rule": HOME, "interface": "eth0", "outside": None, "outside_port": None},
        **{"state": "established", "age_s": None, "idle_s": 0.5, "packets_out": 3},
        **{"bytes_out": 300, "packets_in": 2, "bytes_in": 120, "path": "direct", "rtt_ms": 12.3},
        **{"segments_out": 2, "segments_resent": 1},
    }


def test_connections_that_do_not_leave_directly(world: World) -> None:
    router = Router(world)
    router.listed = [
        connection(far(4, HOME), interface=2),
        connection(far(4, HOME), source=ip_address("192.168.7.1").packed),
        connection(far(4, OFFICE)),
        connection("203.0.114.1"),
    ]
    assert router.flows() == []


def test_a_connection_that_the_system_routes_in_the_tun(world: World) -> None:
    router = Router(world)
    router.listed = [connection("203.0.113.1", ip.UDP, traffic=None)]
    (flow,) = router.flows()
    assert (flow["policy"], flow["rule"], flow["interface"]) == ("bypass", None, "eth0")


def test_udp_has_no_numbers_on_the_direct_path(world: World) -> None:
    router = Router(world)
    router.listed = [connection(far(4, HOME), ip.UDP, traffic=None)]
    (flow,) = router.flows()
    assert (flow["protocol"], flow["bytes_out"], flow["idle_s"]) == ("udp", None, None)
    assert router.flows(protocol="tcp") == []


def unconnected(port: int, interface: int = 0) -> Connection:
    """A socket at any address."""
    nowhere = bytes(4)
    return Connection(ip.UDP, nowhere, port, nowhere, 0, interface, "unconnected", None)


@pytest.mark.parametrize("version", [4, 6])
def test_direct_queries_and_datagrams_have_times_alone(world: World, version: int) -> None:
    own = OWN["eth0"][version == 6]
    head = (IP if version == 4 else IPv6)(src=own, dst=far(version, HOME))
    echo = ICMP(id=7) if version == 4 else ICMPv6EchoRequest(id=7)
    for now in (2.0, 3.0, 4.0):
        world.send(bytes(head / echo), now)
        world.send(bytes(head / UDP(sport=4000, dport=53) / b"1"), now + 0.5)
    router = Router(world)
    router.listed = [unconnected(4000)]
    common = {
        **{"source": own, "destination": far(version, HOME), "policy": "home", "rule": HOME},
        **{"interface": "eth0", "outside": None, "outside_port": None, "state": "sent"},
        **{"packets_out": None, "bytes_out": None, "packets_in": None, "bytes_in": None},
        **{"path": "direct"},
    }
    datagrams = {"protocol": "udp", "source_port": 4000, "destination_port": 53}
    queries = {"protocol": "icmp", "source_port": 7, "destination_port": 7}
    assert router.flows() == [
        common | datagrams | {"age_s": 7.5, "idle_s": 5.5},
        common | queries | {"age_s": 8.0, "idle_s": 6.0},
    ]
    assert [flow["protocol"] for flow in router.flows(protocol="icmp")] == ["icmp"]
    assert router.flows(protocol="tcp") == router.flows(policy="office") == []
    router.loop.now = 4.0 + 60
    assert [flow["protocol"] for flow in router.flows()] == ["udp"]


@pytest.mark.parametrize("sockets", [(), (unconnected(4001),)])
def test_datagrams_without_a_socket_are_over(world: World, sockets: Sequence[Connection]) -> None:
    packet = IP(src=OWN["eth0"][0], dst=far(4, HOME)) / UDP(sport=4000, dport=53) / Raw(b"1")
    world.send(bytes(packet))
    router = Router(world)
    router.listed = sockets
    assert router.flows() == []


def test_datagrams_of_a_connected_socket_are_listed_once(world: World) -> None:
    packet = IP(src=OWN["eth0"][0], dst=far(4, HOME)) / UDP(sport=40000, dport=443) / Raw(b"1")
    world.send(bytes(packet), 2.0)
    router = Router(world)
    router.listed = [connection(far(4, HOME), ip.UDP, traffic=None), unconnected(40000)]
    (flow,) = router.flows()
    assert (flow["state"], flow["age_s"], flow["idle_s"]) == ("established", 8.0, 8.0)


def test_what_leaves_by_another_way_now_is_not_listed(world: World) -> None:
    """As after a change of the rules."""
    source = ip_address(OWN["eth0"][0]).packed
    key = source + ip_address(far(4, OFFICE)).packed + bytes((8, 0, 7))
    world.forwarder.direct.sent.note_key(key, 9.0)
    assert Router(world).flows() == []


def test_many_direct_queries_come_in_parts(world: World) -> None:
    for number in range(5 * PART):
        world.send(bytes(IP(src=OWN["eth0"][0], dst=far(4, HOME)) / ICMP(id=number)), number / 10)
    pieces = Router(world).pieces()
    assert max(piece.count(b'"protocol"') for piece in pieces) == PART
    assert sum(piece.count(b'"protocol"') for piece in pieces) == 5 * PART


def test_what_the_system_does_not_list_is_named(world: World) -> None:
    router = Router(world)
    router.listed = PermissionError(1, "Operation not permitted")
    world.send(ping(4, HOME))
    answer = router.answer()
    assert len(answer["flows"]) == 1
    assert answer["unread"] == ["connections of the direct path: Operation not permitted"]


def test_many_flows_come_in_small_pieces(world: World) -> None:
    total = 4 * AT_ONCE + 1
    for identifier in range(total):
        world.send(echo_request(4, destination=far(4, HOME), identifier=identifier))
    router = Router(world)
    pieces = router.pieces()
    assert max(piece.count(b'"protocol"') for piece in pieces) == AT_ONCE
    assert len(router.flows()) == total
    assert router.flows(policy="office") == router.flows(rule=0) == []


@pytest.mark.parametrize(
    ("request_", "why"),
    [
        ({"policy": "hoem"}, 'there is no policy "hoem": did you mean "home"?'),
        (
            {"policy": "zzz"},
            'there is no policy "zzz": there are reply, drop, reject',
        ),
        ({"policy": 7}, "there is no policy 7: there are reply"),
        ({"protocol": "tpc"}, 'there is no protocol "tpc": did you mean "tcp"?'),
        ({"rule": 1000}, "there is no rule 1000: the rules are 1 to "),
        ({"rule": True}, "there is no rule true"),
        ({"rule": "1"}, 'there is no rule "1"'),
        ({"rule": -1}, "there is no rule -1"),
    ],
)
def test_what_cannot_be_asked_for(world: World, request_: dict[str, Any], why: str) -> None:
    with pytest.raises(BadFilterError) as raised:
        flow_filter(request_, world.forwarder.config)
    assert str(raised.value).startswith(why)
