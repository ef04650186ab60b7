"""Ports of the router's machine that are published from a host behind it (DNAT), and those that are
redirected to another port of its own, as a captured host reaches them.

The requests never enter the TUN. The answers do, as the route towards the captured host is the
TUN's, and the host's conntrack has translated them back before: they come from the published
address. BARE is the same without a router.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest

from tests.e2e import ping, sockets
from tests.e2e.direct.ends import end
from tests.e2e.netns import Namespace
from tests.e2e.tcp_bed import BARE, HOME, RULES, alongside
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import TUN, Tunrouter
from tests.e2e.udp import SERVER, exchange
from tests.e2e.wait import BOUND_S

pytestmark = pytest.mark.rules(RULES)

PUBLISHED, REDIRECTED, LOCAL, ROUTED = 8080, 8081, 8082, 8083
HOSTS = (HOME, BARE)
MUCH = 2 << 20
LONGEST_FRAME = 1 << 16
"""Bytes; a stray packet of something else does not make as many frames as the answer."""
RULESET = f"""
table inet published {{
    chain prerouting {{
        type nat hook prerouting priority dstnat
        iifname != eth0 accept
        meta l4proto {{ tcp, udp }} th dport {REDIRECTED} redirect to :{LOCAL}
        th dport {PUBLISHED} dnat ip to 10.1.0.2
        th dport {PUBLISHED} dnat ip6 to [fd01::2]
        icmp type echo-request dnat ip to 10.1.0.2
        icmpv6 type echo-request dnat ip6 to fd01::2
    }}
    chain forward {{
        type filter hook forward priority 0; policy drop
        ct state established,related accept
        ct status dnat accept
        th dport {ROUTED} accept
        meta l4proto icmpv6 accept
    }}
    chain output {{
        type filter hook output priority 0
        ct state invalid drop
    }}
}}
"""


@pytest.fixture(scope="module")
def published(bed: Testbed) -> Iterator[None]:
    """The rules, and the addresses of the far hosts that ask."""
    addresses = [
        f"{family.far(host)}/{family.host_bits} dev lo" for family in FAMILIES for host in HOSTS
    ]
    bed.far.ip(*(f"addr add {address}" for address in addresses))
    bed.router.run("nft", "-f", "-", stdin=RULESET)
    yield
    bed.router.run("nft", "delete", "table", "inet", "published")
    bed.far.ip(*(f"addr del {address}" for address in addresses))


@pytest.fixture(autouse=True)
def _published(published: None, router: Tunrouter) -> None:
    """The rules are there when a router starts."""


@pytest.mark.parametrize("port", [PUBLISHED, REDIRECTED])
@pytest.mark.parametrize("host", HOSTS, ids=["home", "bare"])
def test_a_connection(bed: Testbed, family: Family, port: int, host: int) -> None:
    by_tun = bed.router.counter(TUN, "tx_packets")
    namespace, bound = (bed.client, PUBLISHED) if port == PUBLISHED else (bed.router, LOCAL)
    with _server(namespace, bound) as listener, sockets.stream(bed.far, family) as far:
        sockets.bind_foreign(far, family, family.far(host))
        far.connect((family.eth0, port))
        server, _ = listener.accept()
        with server:
            server.settimeout(BOUND_S)
            far.sendall(b"question")
            assert server.recv(100) == b"question"
            with alongside(lambda: server.sendall(bytes(MUCH))):
                sockets.read(far, MUCH)
            with alongside(lambda: far.sendall(bytes(MUCH))):
                sockets.read(server, MUCH)
            far.shutdown(socket.SHUT_WR)
            assert server.recv(1) == b""
            server.close()
            assert far.recv(1) == b""
    frames = bed.router.counter(TUN, "tx_packets") - by_tun
    assert (frames >= MUCH // LONGEST_FRAME) == (host == HOME), frames


@pytest.mark.parametrize("host", HOSTS, ids=["home", "bare"])
def test_a_closed_port_is_refused(bed: Testbed, family: Family, host: int) -> None:
    with sockets.stream(bed.far, family) as far:
        sockets.bind_foreign(far, family, family.far(host))
        with pytest.raises(ConnectionRefusedError):
            sockets.connect(far, (family.eth0, PUBLISHED))


@pytest.mark.parametrize("port", [PUBLISHED, REDIRECTED])
@pytest.mark.parametrize("host", HOSTS, ids=["home", "bare"])
def test_datagrams(bed: Testbed, family: Family, port: int, host: int) -> None:
    namespace, bound = (bed.client, PUBLISHED) if port == PUBLISHED else (bed.router, LOCAL)
    server = namespace.start(sys.executable, SERVER, str(bound), "7", "8")
    try:
        server.wait_for_output("listening")
        found = exchange(
            bed.far, family.eth0, port, sends=[10, 1400, 4000], source=family.far(host)
        ).found
    finally:
        server.close()
    assert [one["length"] for one in found] == [10, 1400, 4000]
    assert {tuple(one["sender"]) for one in found} == {(family.eth0, port)}


@pytest.mark.parametrize("host", HOSTS, ids=["home", "bare"])
def test_datagrams_to_a_routed_host(bed: Testbed, family: Family, host: int) -> None:
    """Not translated at all, and told from what the host begins by the host's conntrack alone."""
    server = bed.client.start(sys.executable, SERVER, str(ROUTED), "7", "8")
    try:
        server.wait_for_output("listening")
        found = exchange(
            bed.far, family.client, ROUTED, sends=[10, 1400], source=family.far(host)
        ).found
    finally:
        server.close()
    assert [one["length"] for one in found] == [10, 1400]
    assert {tuple(one["sender"]) for one in found} == {(family.client, ROUTED)}


def test_pings(bed: Testbed, family: Family) -> None:
    found, bare = (ping.answered(bed.far, family.eth0, "-I", family.far(host)) for host in HOSTS)
    assert found.received == bare.received == 3


def test_programs_of_the_machine_leave_as_before(bed: Testbed, family: Family) -> None:
    """To the host that has asked, from the published address."""
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        with sockets.connected(bed.router, family, family.far(HOME), port) as client:
            server, peer = listener.accept()
            server.close()
            assert end(peer) == end(client.getsockname())


def _server(namespace: Namespace, port: int) -> socket.socket:
    def make() -> socket.socket:
        sock = socket.create_server(
            ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=8
        )
        sock.settimeout(BOUND_S)
        return sock

    return sockets.within(namespace, make)
