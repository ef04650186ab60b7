"""TCP, UDP and ICMP by an outbound that has no interface: the engine uses nothing but the
Outbound protocol."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace

import pytest

from router.control.status import status
from router.outbound.base import ManagedOutbound
from router.wire import ip
from tests.unit.engine.tcp.cases import listener_of, segment
from tests.unit.engine.udp.cases import datagram, endpoint, only_socket
from tests.unit.engine.udp.memory import received
from tests.unit.engine.world import OWN, World, far, reply_to
from tests.unit.wire.packets import INSIDE, TCP, UDP, decoded, echo_request

HOME = 9
BOTH = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_the_outbound_has_no_interface(world: World) -> None:
    outbound: ManagedOutbound = world.outbound("home")
    assert not hasattr(outbound, "interfaces")
    assert outbound.describe() == "eth0"


@BOTH
def test_a_ping_and_its_answer(world: World, version: int) -> None:
    assert world.send(echo_request(version, destination=far(version, HOME))) == []
    ((query, outside_id),) = world.sent("home", version)
    own = OWN["eth0"][0 if version == 4 else 1]
    (answer,) = world.answer("home", reply_to(query, outside_id, own))
    assert ip.parse(answer).destination == ip_address(INSIDE[version]).packed


@BOTH
def test_a_datagram_and_its_answer(world: World, version: int) -> None:
    assert world.send(datagram(version, payload=b"question")) == []
    sock = only_socket(world)
    assert [(one.payload, one.address) for one in sock.sent] == [(b"question", endpoint(version))]
    sock.incoming.append(received(b"answer", endpoint(version)))
    (answer,) = [decoded(packet) for packet in world.receive(sock)]
    assert (answer.dst, answer[UDP].dport) == (INSIDE[version], 4000)
    assert bytes(answer[UDP].payload) == b"answer"


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


def test_status_names_the_outbound(world: World) -> None:
    world.send(echo_request(4, destination=far(4, HOME)))
    running = SimpleNamespace(
        config=world.forwarder.config,
        tun=world.tun,
        uptime=1.0,
        outbounds=world.outbounds,
        forwarder=world.forwarder,
    )
    answer = json.loads(b"".join(status(running)))
    home = answer["policies"]["home"]
    assert (home["state"], home["interface"], home["flows"]) == ("up", "eth0", 1)
