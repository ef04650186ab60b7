"""The router's listeners accept only the connections that the router has dialled itself."""

from __future__ import annotations

import errno
import re
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e import sockets
from tests.e2e.capture import Capture
from tests.e2e.netns import Namespace
from tests.e2e.tcp_bed import HOME, RULES, alongside, conversation
from tests.e2e.testbed import V6, Family, Testbed
from tests.e2e.tunrouter import TUN
from tests.e2e.wait import wait_until

PAST_THE_ROUTER = 7700
"""A routing table."""
pytestmark = [
    pytest.mark.rules(RULES),
    pytest.mark.usefixtures("router"),
]


def listeners(bed: Testbed, family: Family) -> list[int]:
    """The ports at which the router listens."""
    shown = bed.router.run("ss", "-Hltn").stdout
    address = re.escape(family.tun)
    found = re.findall(rf"\[?{address}(?:%{TUN})?\]?(?:%{TUN})?:(\d+)", shown)
    assert found, shown
    return [int(port) for port in found]


def attempt(sock: socket.socket, address: str, port: int) -> None:
    sock.setblocking(False)
    assert sock.connect_ex((address, port)) in (0, errno.EINPROGRESS, errno.ECONNREFUSED)


@pytest.mark.parametrize("where", ["client", "gw"])
def test_another_host_is_refused(bed: Testbed, family: Family, where: str) -> None:
    """From the LAN, and from the network outside, where a host may have a route to the TUN."""
    namespace: Namespace = getattr(bed, where)
    route = f"{family.tun}/{family.host_bits} via {family.eth0}"
    bed.gw.ip(f"route add {route}")
    try:
        for port in listeners(bed, family):
            with pytest.raises(ConnectionRefusedError):
                sockets.connected(namespace, family, family.tun, port)
    finally:
        bed.gw.ip(f"route del {route}")


def test_a_local_program_is_not_accepted(bed: Testbed, family: Family) -> None:
    """Its requests are dropped before they reach the listener, however often they come: not one is
    answered while three of them, and a connection by the router, go by."""
    port = listeners(bed, family)[0]
    name = f"{family.tun}.{port}"
    with (
        Capture(bed.router, f"tcp port {port}") as capture,
        sockets.stream(bed.router, family) as local,
    ):
        attempt(local, family.tun, port)

        def three_requests() -> bool:
            requests = [seen for seen in capture.on("lo") if seen.destination == name]
            return len(requests) >= 3

        wait_until(three_requests, "three requests")
        with conversation(bed, family, HOME) as pair:
            pair.client.sendall(b"let me in")
            assert pair.server.recv(100) == b"let me in"
        assert select.select([local], [local], [local], 0) == ([], [], [])
        assert [seen for seen in capture.on("lo") if seen.source == name] == []


def test_a_local_program_that_claims_to_be_the_peer(bed: Testbed) -> None:
    """IPv6 lets any program send from an address that is not this machine's (IPV6_FREEBIND)."""
    port = listeners(bed, V6)[0]
    with (
        Capture(bed.router, f"tcp port {port}") as capture,
        sockets.stream(bed.router, V6) as local,
    ):
        sockets.bind_foreign(local, V6, V6.tun_peer)
        attempt(local, V6.tun, port)
        wait_until(lambda: len(capture.on("lo")) >= 2, "two requests")
        assert select.select([local], [local], [local], 0) == ([], [], [])
        assert {seen.destination for seen in capture.packets()} == {f"{V6.tun}.{port}"}


def test_the_peer_itself_has_no_port_open(bed: Testbed, family: Family) -> None:
    for namespace in (bed.client, bed.router):
        for port in (22, listeners(bed, family)[0]):
            with pytest.raises(ConnectionRefusedError):
                sockets.connected(namespace, family, family.tun_peer, port)


@contextmanager
def past_the_router(bed: Testbed, family: Family) -> Iterator[None]:
    """The client's packets to a captured host do not enter the TUN. By a rule: a route of the
    router's that is removed is restored at once."""
    route = f"{family.far(HOME)} via {family.gateway} dev eth0 table {PAST_THE_ROUTER}"
    rule = f"iif lan0 to {family.far(HOME)} lookup {PAST_THE_ROUTER} pref 100".split()
    bed.router.ip(f"route add {route}")
    bed.router.run("ip", f"-{family.version}", "rule", "add", *rule)
    try:
        yield
    finally:
        bed.router.run("ip", f"-{family.version}", "rule", "del", *rule)
        bed.router.ip(f"route del {route}")


def test_a_segment_of_no_connection_is_reset(bed: Testbed, family: Family) -> None:
    """A client whose connection the router does not have, as after its restart, does not hang."""
    with conversation(bed, family, HOME) as pair:
        with past_the_router(bed, family), sockets.listener(bed.far) as listener:
            port = sockets.port_of(listener)
            client = sockets.connected(bed.client, family, family.far(HOME), port)
            server, _ = listener.accept()
        with client, server:
            client.sendall(b"still there?")
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        with alongside(lambda: pair.client.sendall(b"not disturbed")):
            assert pair.server.recv(100) == b"not disturbed"
