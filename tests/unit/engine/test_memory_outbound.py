"""TCP, UDP and ICMP by an outbound that has no interface: the engine uses nothing but the
Outbound protocol."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace

import pytest

from router.control.status import status
from router.outbound.base import Change, ManagedOutbound
from router.platform.base.descriptors import Bytes
from router.platform.base.sockets import Arrived, NetworkError
from router.wire import ip
from tests.unit.engine.tcp.cases import listener_of, segment
from tests.unit.engine.udp.cases import datagram, endpoint
from tests.unit.engine.udp.memory import received
from tests.unit.engine.world import OWN, World, far, reply_to
from tests.unit.wire.packets import INSIDE, TCP, UDP, decoded, echo_request

HOME = 9
BOTH = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Its outbounds leave by no interface."""
    made = World(tmp_path)
    for outbound in made.outbounds.by_interface.values():
        outbound.interfaces = []
    return made


class MemoryDatagrams:
    """See DatagramChannel: neither a socket nor an interface."""

    most_segments = 1
    is_lost = False

    def __init__(self, port: int) -> None:
        self.port = port
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        self.incoming: list[Arrived] = []
        self.closed = False

    def fileno(self) -> int:
        return self.port

    def sends_with(self, hop_limit: int, traffic_class: int, dont_fragment: int) -> bool:
        return False

    def send_with(self, hop_limit: int, traffic_class: int, dont_fragment: int) -> None:
        pass

    def send(self, payload: Bytes, address: tuple[str, int]) -> None:
        self.sent.append((bytes(payload), address))

    def send_run(self, payloads: Bytes, size: int, address: tuple[str, int]) -> None:
        raise AssertionError("most_segments is 1")

    def receive(self) -> list[Arrived]:
        arrived, self.incoming = self.incoming, []
        return arrived

    def endpoint(self, sender: bytes) -> tuple[bytes, int]:
        return sender[:-2], int.from_bytes(sender[-2:], "big")

    def errors(self) -> Iterator[NetworkError]:
        return iter(())

    def close(self) -> None:
        self.closed = True


def test_the_outbound_has_no_interface(world: World) -> None:
    outbound: ManagedOutbound = world.outbound("home")
    assert outbound.facts is not None
    assert outbound.facts.interfaces == []


@BOTH
def test_a_ping_and_its_answer(world: World, version: int) -> None:
    assert world.send(echo_request(version, destination=far(version, HOME))) == []
    ((query, outside_id),) = world.sent("home", version)
    own = OWN["eth0"][0 if version == 4 else 1]
    (answer,) = world.answer("home", reply_to(query, outside_id, own))
    assert ip.parse(answer).destination == ip_address(INSIDE[version]).packed


@BOTH
def test_a_datagram_and_its_answer(world: World, version: int) -> None:
    channels: list[MemoryDatagrams] = []

    def open_datagrams(version: int, source: bytes, ports: Iterator[int]) -> MemoryDatagrams:
        channels.append(MemoryDatagrams(next(ports)))
        return channels[-1]

    world.outbound("home").open_datagrams = open_datagrams
    assert world.send(datagram(version, payload=b"question")) == []
    (channel,) = channels
    assert channel.sent == [(b"question", endpoint(version))]
    channel.incoming.append(received(b"answer", endpoint(version)))
    world.tun.written.clear()
    world.udp.readers[channel.fileno()](1.0)
    (answer,) = [decoded(packet) for packet in world.tun.written]
    assert (answer.dst, answer[UDP].dport) == (INSIDE[version], 4000)
    assert bytes(answer[UDP].payload) == b"answer"
    unchanged = Change(world.outbound("home"), frozenset(), differs=False)
    world.carriers.forget(unchanged)
    assert not channel.closed
    channel.is_lost = True
    world.carriers.forget(unchanged)
    assert (channel.closed, len(world.carriers.datagrams)) == (True, 0)


@BOTH
def test_a_connection_and_its_bytes(world: World, version: int) -> None:
    assert world.send(segment(version)) == []
    (request,) = world.tcp.requests
    assert (ip.format_address(request.destination), request.port) == (far(version, HOME), 80)
    assert request.hop_limit == 63
    (outer,) = world.tcp.dialled
    outer.connected = True
    world.tcp.change(outer)
    (let_in,) = [decoded(packet) for packet in world.tun.written]
    inner = world.tcp.connect(listener_of(world.tcp, let_in), (let_in.src, let_in[TCP].sport))
    inner.there.sendall(b"GET")
    world.tcp.change(inner)
    assert outer.there.recv(16) == b"GET"
    outer.there.sendall(b"200")
    world.tcp.change(outer)
    assert inner.there.recv(16) == b"200"


@BOTH
def test_unsupported_protocols_are_refused(world: World, version: int) -> None:
    world.outbound("home").protocols.clear()
    (reset,) = world.send(segment(version))
    assert decoded(reset)[TCP].flags == "RA"
    assert len(world.send(datagram(version))) == 1
    assert len(world.send(echo_request(version, destination=far(version, HOME)))) == 1
    assert world.tcp.requests == []
    assert world.udp.sockets == []
    assert world.sent("home", version) == []


@BOTH
def test_a_flow_whose_outbound_carries_queries_no_more_ends(world: World, version: int) -> None:
    query = echo_request(version, destination=far(version, HOME))
    assert world.send(query) == []
    world.outbound("home").channels.clear()
    for _ in range(2):
        assert len(world.send(query)) == 1, "one error"
    assert world.carriers.counts()["icmp"] == 0
    world.forwarder.expire(1000.0)
    assert world.drops == {"icmp-type": 2}


def test_status_names_the_outbound(world: World) -> None:
    world.send(echo_request(4, destination=far(4, HOME)))
    running = SimpleNamespace(
        config=world.forwarder.config,
        tun=world.tun,
        uptime=1.0,
        outbounds=world.outbounds,
        forwarder=world.forwarder,
        answers=SimpleNamespace(of=lambda _policy: (0, 0)),
        obstacles=SimpleNamespace(why_relayed=lambda _policy: None),
    )
    answer = json.loads(b"".join(status(running)))
    home = answer["policies"]["home"]
    assert (home["state"], home["interface"], home["flows"]) == ("up", None, 1)
