"""Errors of the local kernel about unresolved neighbours are reported for the queued datagrams."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from router.flows.udp.flow import IDLE
from router.wire import icmp, ip
from router.wire.icmp import Error
from tests.unit.engine.udp.cases import HOME, datagram, error_in, only_socket
from tests.unit.engine.world import OWN, World, far
from tests.unit.wire.packets import IP, UDP, IPv6, IPv6ExtHdrFragment, Raw, decoded

HOST_UNREACHABLE = Error.HOST_UNREACHABLE


def left(world: World, payload: bytes = b"hello", *, port: int | None = None) -> bytes:
    """An IPv4 datagram as the router sent it; with another source port, that of another program."""
    port = only_socket(world).port if port is None else port
    header = IP(src=OWN["eth0"][0], dst=far(4, HOME), ttl=63, flags="DF")
    return bytes(header / UDP(sport=port, dport=7) / Raw(payload))


def reported(about: bytes, source: str = OWN["eth0"][0], what: Error = HOST_UNREACHABLE) -> bytes:
    """An error as the raw socket receives it."""
    return icmp.error(ip_address(source).packed, ip.parse(about), what)


def test_the_router_reports_it_and_quotes_what_was_sent(world: World) -> None:
    world.send(datagram(4))
    read, what, quote = error_in(world.answer("home", reported(left(world))))
    assert what == HOST_UNREACHABLE.type_and_code(4)
    assert (read.src, read.dst) == ("192.168.7.2", decoded(datagram(4)).src)
    assert (read.ttl, read.tos) == (64, 0xC0)
    assert quote[20:] == datagram(4)[20:]
    assert decoded(quote).dst == far(4, HOME)
    assert world.drops == {}


def test_each_queued_datagram_is_reported(world: World) -> None:
    payloads = [b"hello", b"again", b"", bytes(1000)]
    for payload in payloads:
        world.send(datagram(4, payload=payload))
    quotes = [
        error_in(world.answer("home", reported(left(world, payload))))[2] for payload in payloads
    ]
    assert [quote[28:] for quote in quotes] == [payload[:520] for payload in payloads]


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("192.0.2.1", HOST_UNREACHABLE),
        ("192.0.2.1", Error.NO_ROUTE),
        (OWN["eth0"][0], Error.NO_ROUTE),
    ],
)
def test_an_error_in_the_error_queue_is_not_reported_twice(
    world: World, source: str, what: Error
) -> None:
    """Nor is it counted as a drop."""
    world.send(datagram(4))
    assert world.answer("home", reported(left(world), source, what)) == []
    assert world.drops == {}


def test_ipv6_errors_arrive_in_the_error_queue(world: World) -> None:
    """The filter passes quotes with extension headers unseen."""
    world.send(datagram(6))
    body = UDP(sport=only_socket(world).port, dport=7, len=3000) / Raw(bytes(64))
    header = IPv6(src=OWN["eth0"][1], dst=far(6, HOME)) / IPv6ExtHdrFragment(m=1, nh=17)
    assert world.answer("home", reported(bytes(header / body), OWN["eth0"][1])) == []
    assert world.drops == {}


def test_a_datagram_of_another_program_is_ignored(world: World) -> None:
    world.send(datagram(4))
    assert world.answer("home", reported(left(world, port=only_socket(world).port + 1))) == []
    assert world.answer("office", reported(left(world), OWN["wg0"][0])) == []
    assert world.drops == {}


def test_an_error_without_a_flow_is_dropped(world: World) -> None:
    world.send(datagram(4, host=HOME + 1))
    assert world.answer("home", reported(left(world))) == []
    assert world.drops == {"no-binding": 1}


def test_an_error_with_a_wrong_checksum_is_dropped(world: World) -> None:
    world.send(datagram(4))
    damaged = bytearray(reported(left(world)))
    damaged[-1] ^= 1
    assert world.answer("home", bytes(damaged)) == []
    assert world.drops == {"bad-checksum": 1}


def test_an_error_neither_refreshes_nor_ends_a_mapping(world: World) -> None:
    """RFC 4787 REQ-12."""
    world.send(datagram(4), now=0.0)
    sock, about = only_socket(world), left(world)
    assert len(world.answer("home", reported(about), now=IDLE - 1)) == 1
    assert not sock.closed
    world.forwarder.expire(IDLE + 1)
    assert sock.closed
