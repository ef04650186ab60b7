"""A flow keeps the source address that it began with, and ends only when that one is gone.

Addresses of the home network come and go, and the system comes to prefer another: a deprecated
address in IPv6 (privacy extensions, RFC 8981), another `src` of the route in IPv4. What a connected
socket does on the bare path, a flow does by the router.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.e2e import ping, sockets
from tests.e2e.capture import Capture
from tests.e2e.direct.ends import end
from tests.e2e.tcp_bed import conversation
from tests.e2e.test_route_sources import wait_for_source
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import Tunrouter, rules
from tests.e2e.udp import echo, udp_sockets
from tests.e2e.wait import wait_until

HOME, OTHER_HOME, BARE = 1, 2, 9
OTHER = {4: "192.0.2.77", 6: "2001:db8:2::77"}
ELSEWHERE = {4: "192.0.2.99/32", 6: "2001:db8:2::99/128"}
ON_ETH0 = {version: f"{OTHER[version]}/{length} dev eth0" for version, length in ((4, 24), (6, 64))}
ECHO = 7
RETRY_S = 0.2

pytestmark = [
    pytest.mark.usefixtures("udp_servers"),
    pytest.mark.rules(
        rules(*(f"{each.far(host)} -> home" for each in FAMILIES for host in (HOME, OTHER_HOME)))
    ),
]


def _echoing(bed: Testbed, family: Family, host: int, *, local: bool = False) -> socket.socket:
    """local: from a program on the router's machine, which leaves directly."""
    sock = sockets.datagram(bed.router if local else bed.client, family)
    sock.connect((family.far(host), ECHO))
    echo(sock)
    return sock


def _lines(router: Tunrouter) -> int:
    return router.log.count("policy home: up")


@contextmanager
def _noticed(router: Tunrouter) -> Iterator[None]:
    before = _lines(router)
    yield
    wait_until(lambda: _lines(router) > before, "the change to be noticed")


@contextmanager
def _preferring_another(bed: Testbed, router: Tunrouter, family: Family) -> Iterator[None]:
    """The system sends from OTHER from now on; the first address stays."""
    added = ON_ETH0[family.version]
    default = f"route replace default via {family.gateway}"
    own = f"addr change {family.eth0}/64 dev eth0 preferred_lft"
    if family.version == 4:
        start = [f"addr add {added}", f"{default} src {OTHER[4]}"]
        end = [default, f"addr del {added}"]
    else:
        start = [f"addr add {added}", f"{own} 0"]
        end = [f"{own} forever", f"addr del {added}"]
    with _noticed(router):
        bed.router.ip(*start)
    try:
        yield
    finally:
        with _noticed(router):
            bed.router.ip(*end)


def _seen_by_far(capture: Capture, destination: str) -> list[str]:
    return [
        packet.source.rpartition(".")[0]
        for packet in capture.packets()
        if packet.direction == "In" and packet.destination == f"{destination}.{ECHO}"
    ]


def test_an_address_that_no_flow_uses_may_go(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    """A mapping keeps its port, and no answer of a ping is lost."""
    unused = " preferred_lft 0" if family.version == 6 else ""
    with _noticed(router):
        bed.router.ip(f"addr add {ON_ETH0[family.version]}{unused}")
    with _echoing(bed, family, HOME), Capture(bed.router, f"udp port {ECHO}"):
        held = udp_sockets(bed, family)
        pings = ping.start(bed.client, family.far(HOME), "-i", "0.01")
        try:
            wait_until(lambda: "icmp_seq" in pings.stdout, "an answer")
            with _noticed(router):
                bed.router.ip(f"addr del {ON_ETH0[family.version]}")
            ping.wait_for_the_rest(pings)
            assert udp_sockets(bed, family) == held
        finally:
            pings.close()


def test_programs_may_send_from_each_address(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    """Of the interface, also from a deprecated one: it is that of the connection at both ends."""
    unused = " preferred_lft 0" if family.version == 6 else ""
    with _noticed(router):
        bed.router.ip(f"addr add {ON_ETH0[family.version]}{unused}")
    try:
        for host in (HOME, BARE):
            with (
                sockets.listener(bed.far) as listener,
                sockets.stream(bed.router, family) as client,
            ):
                client.bind((OTHER[family.version], 0))
                sockets.connect(client, (family.far(host), sockets.port_of(listener)))
                server, peer = listener.accept()
                server.close()
                assert end(peer) == end(client.getsockname())
    finally:
        with _noticed(router):
            bed.router.ip(f"addr del {ON_ETH0[family.version]}")


@pytest.mark.parametrize(
    ("local", "first", "second"),
    [(True, BARE, BARE), (True, HOME, OTHER_HOME), (False, HOME, OTHER_HOME)],
    ids=["bare", "direct", "relayed"],
)
def test_a_datagram_flow_keeps_its_source(
    bed: Testbed, router: Tunrouter, family: Family, local: bool, first: int, second: int
) -> None:
    with (
        _echoing(bed, family, first, local=local) as old,
        Capture(bed.far, "udp") as far,
        _preferring_another(bed, router, family),
    ):
        echo(old)
        assert _seen_by_far(far, family.far(first)) == [family.eth0]
        if local:
            wait_for_source(bed, family, family.far(second), OTHER[family.version])
        with _echoing(bed, family, second, local=local):
            assert _seen_by_far(far, family.far(second))[-1] == OTHER[family.version]
        echo(old)
        assert _seen_by_far(far, family.far(first))[-1] == family.eth0


def test_a_ping_keeps_its_source(bed: Testbed, router: Tunrouter, family: Family) -> None:
    address, later = family.far(HOME), family.far(OTHER_HOME)
    pings = ping.start(bed.client, address, "-i", "0.01")
    try:
        wait_until(lambda: "icmp_seq" in pings.stdout, "an answer")
        with _preferring_another(bed, router, family), Capture(bed.far) as far:
            ping.wait_for_the_rest(pings)
            assert ping.answered(bed.client, later).received == 3
            assert far.arrivals(address) == {("home0", family.eth0)}
            assert far.arrivals(later) == {("home0", OTHER[family.version])}
    finally:
        pings.close()


def test_a_connection_keeps_its_source(bed: Testbed, router: Tunrouter, family: Family) -> None:
    with conversation(bed, family, HOME) as pair, _preferring_another(bed, router, family):
        pair.client.sendall(b"question")
        assert pair.server.recv(100) == b"question"


def test_flows_end_when_their_own_address_is_gone(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    """The next datagram goes on from an address that exists."""
    with _preferring_another(bed, router, family):
        sock = _echoing(bed, family, OTHER_HOME)
    with sock, Capture(bed.far, "udp") as far:
        echo(sock)
        assert _seen_by_far(far, family.far(OTHER_HOME)) == [family.eth0]


def test_flows_end_when_their_address_is_gone_from_another_interface(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    """A route may name an address of `lo` as the source."""
    network = family.far(OTHER_HOME)
    own = f"{ELSEWHERE[family.version]} dev lo"
    bed.router.ip(f"addr add {own}")
    route = f"{network} via {family.gateway} dev eth0"
    bed.gw.ip(f"route add {ELSEWHERE[family.version]} via {family.eth0}")
    bed.router.ip(f"route add {route} src {own.partition('/')[0]} metric 2000")
    try:
        with _echoing(bed, family, OTHER_HOME) as sock, Capture(bed.far, "udp") as far:
            echo(sock)
            assert set(_seen_by_far(far, network)) == {own.partition("/")[0]}
            bed.router.ip(f"addr del {own}")
            wait_until(lambda: _answered(sock), "the flow to begin again")
            assert _seen_by_far(far, network)[-1] == family.eth0
    finally:
        bed.router.run("ip", "addr", "del", *own.split(), check=False)
        bed.router.run("ip", f"-{family.version}", "route", "del", *route.split(), check=False)
        bed.gw.ip(f"route del {ELSEWHERE[family.version]} via {family.eth0}")


def _answered(sock: socket.socket) -> bool:
    sock.settimeout(RETRY_S)
    try:
        echo(sock)
    except OSError:
        return False
    return True
