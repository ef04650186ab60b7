"""The mappings of UDP: socket, port, lifetime, filtering and exhaustion (RFC 4787)."""

from __future__ import annotations

import errno
from ipaddress import ip_address

import pytest

from router.flows.udp.flow import IDLE
from router.outbound.base import Change
from tests.unit.engine.udp.cases import (
    BOTH,
    HOME,
    HOME2,
    LOCAL_HOST,
    OFFICE,
    PROHIBITED,
    datagram,
    endpoint,
    error_in,
    only_socket,
)
from tests.unit.engine.udp.memory import received
from tests.unit.engine.world import World, far
from tests.unit.wire.packets import INSIDE, UDP, decoded


@BOTH
def test_req_1_one_socket_for_an_inside_endpoint_whatever_the_destination(
    world: World, version: int
) -> None:
    """RFC 4787 REQ-1; the rules are nevertheless looked up for each destination."""
    for host, dport in ((HOME, 7), (HOME, 8), (HOME2, 7), (HOME2, 53)):
        world.send(datagram(version, host, dport=dport))
    sock = only_socket(world)
    assert [sent.address for sent in sock.sent] == [
        (far(version, HOME), 7),
        (far(version, HOME), 8),
        (far(version, HOME2), 7),
        (far(version, HOME2), 53),
    ]
    world.send(datagram(version, OFFICE))
    assert {sock.interface for sock in world.udp.open} == {"eth0", "wg0"}
    assert len(world.carriers.datagrams) == 5


@BOTH
def test_req_3_and_4_two_hosts_with_one_port_have_two_of_one_parity(
    world: World, version: int
) -> None:
    """RFC 4787 REQ-3 (no port overloading), REQ-4 (parity)."""
    world.send(datagram(version, sport=5061))
    world.send(datagram(version, sport=5061, source=LOCAL_HOST[version]))
    first, second = world.udp.open
    assert first.port == 5061
    assert second.port != 5061
    assert second.port % 2 == 1
    for sock, writer in ((second, LOCAL_HOST[version]), (first, INSIDE[version])):
        sock.incoming = [received(b"yours", endpoint(version), 60, 0)]
        (delivered,) = world.receive(sock)
        assert (decoded(delivered).dst, decoded(delivered)[UDP].dport) == (writer, 5061)


@BOTH
def test_req_4_a_port_in_use_is_replaced(world: World, version: int) -> None:
    """RFC 4787 REQ-4."""
    world.udp.taken = set(range(3000, 5000)) | set(range(40000))
    world.send(datagram(version, sport=4000))
    assert only_socket(world).port % 2 == 0
    assert only_socket(world).port >= 40000


@BOTH
def test_req_5_a_mapping_ends_after_five_idle_minutes(world: World, version: int) -> None:
    """RFC 4787 REQ-5; its socket is closed with it."""
    world.send(datagram(version, dport=4007), now=0.0)
    sock = only_socket(world)
    world.forwarder.expire(IDLE - 1)
    assert not sock.closed
    world.forwarder.expire(IDLE + 1)
    assert sock.closed
    assert not world.udp.readers
    world.send(datagram(version, dport=4007), now=IDLE + 2)
    assert only_socket(world) is not sock


@BOTH
@pytest.mark.parametrize("direction", ["out", "in"])
def test_req_6_both_directions_refresh(world: World, version: int, direction: str) -> None:
    """RFC 4787 REQ-6."""
    world.send(datagram(version, dport=4007), now=0.0)
    sock = only_socket(world)
    if direction == "out":
        world.send(datagram(version, dport=4007), now=200.0)
    else:
        sock.incoming = [received(b"", endpoint(version), 60, 0)]
        assert len(world.receive(sock, now=200.0)) == 1
    world.forwarder.expire(IDLE + 199)
    assert not sock.closed
    world.forwarder.expire(IDLE + 201)
    assert sock.closed


@BOTH
def test_req_8_only_hosts_that_were_sent_to_may_answer(world: World, version: int) -> None:
    """RFC 4787 REQ-8: address-dependent filtering; what is filtered is counted."""
    world.send(datagram(version))
    sock = only_socket(world)
    sock.incoming = [
        received(b"filtered", endpoint(version, HOME2), 60, 0),
        received(b"other port", endpoint(version, HOME, 99), 60, 0),
    ]
    (delivered,) = world.receive(sock)
    assert bytes(decoded(delivered)[UDP].payload) == b"other port"
    assert decoded(delivered)[UDP].sport == 99
    assert world.drops == {"filtered": 1}


@BOTH
def test_req_8_filtered_datagrams_refresh_nothing(world: World, version: int) -> None:
    world.send(datagram(version), now=0.0)
    sock = only_socket(world)
    sock.incoming = [received(b"filtered", endpoint(version, HOME2), 60, 0)]
    assert world.receive(sock, now=200.0) == []
    world.forwarder.expire(IDLE + 1)
    assert sock.closed


@BOTH
def test_req_11_a_full_table_refuses_new_mappings_and_keeps_the_old(
    world: World, version: int
) -> None:
    """RFC 4787 REQ-11; RFC 5508 REQ-8 gives the error."""
    for sport in range(1000, 1100):
        assert world.send(datagram(version, sport=sport)) == []
    read, what, _ = error_in(world.send(datagram(version, sport=2000)))
    assert what == PROHIBITED[version]
    assert read.src == ("192.168.7.2" if version == 4 else "fd77::2")
    assert world.drops == {"table-full": 1}
    assert len(world.udp.open) == 100
    assert world.send(datagram(version, HOME2, sport=1050)) == [], "old mappings take new flows"


@BOTH
@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
def test_req_11_no_descriptor_or_memory_refuses_the_new_flow(
    world: World, version: int, code: int
) -> None:
    world.send(datagram(version, sport=1000))
    world.udp.raises = OSError(code, "")
    assert error_in(world.send(datagram(version, sport=2000)))[1] == PROHIBITED[version]
    assert world.drops == {"table-full": 1}
    assert world.send(datagram(version, sport=1000)) == []
    assert world.send(datagram(version, sport=2000)) == [], "it is tried again"


@BOTH
def test_req_11_no_port_refuses_the_new_flow(world: World, version: int) -> None:
    world.udp.taken = set(range(65536))
    assert error_in(world.send(datagram(version)))[1] == PROHIBITED[version]
    assert world.drops == {"table-full": 1}
    assert not world.udp.open
    assert len(world.carriers.datagrams) == 0


@BOTH
def test_a_change_of_the_outbound_ends_its_flows(world: World, version: int) -> None:
    world.send(datagram(version))
    world.send(datagram(version, OFFICE))
    home, office = world.udp.open
    world.carriers.forget(Change(world.outbounds.by_policy["home"], frozenset({4, 6})))
    assert (home.closed, office.closed) == (True, False)
    world.send(datagram(version))
    assert len(world.udp.open) == 2
    world.carriers.close()
    assert not world.udp.open
    assert not world.udp.readers


@BOTH
@pytest.mark.parametrize("removed", [True, False], ids=["an address is removed", "none is"])
def test_a_flow_ends_with_an_address_that_came_and_went_between_two_readings(
    world: World, version: int, removed: bool
) -> None:
    """The outbound has not changed, and no reading has shown the address."""
    home = world.outbound("home")
    own = home.own[version]
    home.own[version] = ip_address(far(version, 99)).packed
    world.send(datagram(version))
    home.own[version] = own
    sock = only_socket(world)
    for change in world.outbounds.refresh(address_removed=removed):
        assert not change.differs
        world.carriers.forget(change)
    assert sock.closed == removed
