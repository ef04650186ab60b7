"""ICMP errors of an inside host about a delivered datagram are forwarded to its sender.

RFC 5508 REQ-5 and REQ-6 as for queries; RFC 4787 REQ-12.
"""

from __future__ import annotations

import pytest

from router.flows.udp.flow import IDLE
from router.platform.base.facts import NetworkPath
from router.wire import icmp, ip
from router.wire.icmp import Error
from tests.unit.engine.udp.cases import (
    BOTH,
    HOME,
    HOME2,
    PORT_UNREACHABLE,
    datagram,
    endpoint,
    only_socket,
)
from tests.unit.engine.udp.memory import received
from tests.unit.engine.world import OWN, World, far
from tests.unit.wire.packets import INSIDE, IP, UDP, IPv6, Raw, decoded


def answered(world: World, version: int, port: int = 7, now: float = 1.0) -> ip.Packet:
    """An answer that was delivered."""
    world.send(datagram(version), now=now)
    sock = only_socket(world)
    sock.incoming = [received(b"late", endpoint(version, port=port))]
    (packet,) = world.receive(sock, now=now)
    return ip.parse(packet)


def refused(about: ip.Packet, what: Error = Error.PORT_UNREACHABLE) -> bytes:
    """The ICMP error of its destination about it."""
    return icmp.error(about.destination, about, what)


def sent_on(world: World, version: int) -> list[tuple[bytes, str]]:
    return world.channel("home", version).errors


@BOTH
@pytest.mark.parametrize("port", [7, 1234])
def test_req_5_the_quote_is_what_the_router_received(world: World, version: int, port: int) -> None:
    """From any port of the far host."""
    error = refused(answered(world, version, port))
    assert world.send(error) == []
    ((packet, address),) = sent_on(world, version)
    own = OWN["eth0"][version == 6]
    assert address == far(version, HOME)
    read = decoded(packet)
    assert (read.src, read.dst) == (own, address)
    assert (read.ttl if version == 4 else read.hlim) == 63
    message = bytes(read.payload)
    assert (message[0], message[1]) == PORT_UNREACHABLE[version]
    body = UDP(sport=port, dport=only_socket(world).port) / Raw(b"late")
    header = IP(src=address, dst=own) if version == 4 else IPv6(src=address, dst=own)
    start = 20 if version == 4 else 40
    assert message[8 + start :] == bytes(header / body)[start:]
    quote = decoded(message[8:])
    assert (quote.src, quote.dst) == (address, own)
    assert world.drops == {}


@BOTH
def test_an_error_of_a_router_between_has_our_address(world: World, version: int) -> None:
    between = ip.parse(datagram(version, source="10.1.0.9" if version == 4 else "fd01::9")).source
    about = answered(world, version)
    assert world.send(icmp.error(between, about, Error.HOST_UNREACHABLE)) == []
    ((packet, _),) = sent_on(world, version)
    assert decoded(packet).src == OWN["eth0"][version == 6], (
        "an inside router has no outside address"
    )


@BOTH
def test_req_5_an_error_without_a_flow_is_dropped(world: World, version: int) -> None:
    """Another port inside, another host outside, and the ports exchanged."""
    answered(world, version)
    writer = INSIDE[version]
    for source, sport, dport in (
        (far(version, HOME), 7, 4001),
        (far(version, HOME2), 7, 4000),
        (far(version, HOME2), 4000, 7),
    ):
        body = UDP(sport=sport, dport=dport) / Raw(b"late")
        header = IP(src=source, dst=writer) if version == 4 else IPv6(src=source, dst=writer)
        assert world.send(refused(ip.parse(bytes(header / body)))) == []
    assert sent_on(world, version) == []
    assert world.drops == {"no-binding": 3}


@BOTH
def test_an_error_to_another_host_than_quoted_is_dropped(world: World, version: int) -> None:
    about = answered(world, version)
    other = ip.parse(datagram(version, host=HOME2)).destination
    kind, code = PORT_UNREACHABLE[version]
    body = bytes((kind, code, 0, 0)) + bytes(4) + about.data
    message = icmp.message(version, about.destination, other, body)
    protocol = icmp.protocol_of(version)
    assert world.send(ip.build(about.destination, other, protocol, message)) == []
    assert sent_on(world, version) == []
    assert world.drops == {"no-binding": 1}


@BOTH
def test_req_5_an_error_with_a_wrong_checksum_is_dropped(world: World, version: int) -> None:
    damaged = bytearray(refused(answered(world, version)))
    damaged[-1] ^= 1
    assert world.send(bytes(damaged)) == []
    assert sent_on(world, version) == []
    assert world.drops == {"bad-checksum": 1}


@BOTH
def test_a_hop_limit_that_is_used_up_is_counted(world: World, version: int) -> None:
    error = bytearray(refused(answered(world, version)))
    error[8 if version == 4 else 7] = 1
    assert world.send(bytes(error)) == []
    assert sent_on(world, version) == []
    assert world.drops == {"hop-limit": 1}


@BOTH
def test_req_6_an_error_neither_refreshes_nor_ends_a_mapping(world: World, version: int) -> None:
    error = refused(answered(world, version, now=0.0))
    sock = only_socket(world)
    world.send(error, now=IDLE - 1)
    assert len(sent_on(world, version)) == 1
    assert not sock.closed
    world.forwarder.expire(IDLE + 1)
    assert sock.closed


@BOTH
def test_the_source_is_the_address_chosen_by_the_system(world: World, version: int) -> None:
    own = ip.parse(datagram(version, source="192.0.2.9" if version == 4 else "2001:db8:2::9"))
    world.outbound("home").path = lambda version, address: NetworkPath(1500, own.source)
    world.send(refused(answered(world, version)))
    ((packet, _),) = sent_on(world, version)
    read = ip.parse(packet)
    assert read.source == own.source
    assert ip.parse(packet[read.payload + 8 :]).destination == own.source


@BOTH
def test_an_error_without_a_route_is_dropped(world: World, version: int) -> None:
    world.outbound("home").path = lambda version, address: NetworkPath(1280, None)
    world.send(refused(answered(world, version)))
    assert sent_on(world, version) == []
    assert world.drops == {"unreachable": 1}
