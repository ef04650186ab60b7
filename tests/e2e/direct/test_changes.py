"""Outbounds that are slow, or change while data passes directly."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import pytest

from tests.e2e import ping, sockets
from tests.e2e.direct.ends import LinkArrivals, is_direct
from tests.e2e.direct.second_gateway import ADDRESS, LINK
from tests.e2e.direct.uploads import MORE, upload, wait_for_more
from tests.e2e.tcp_bed import alongside
from tests.e2e.testbed import V4, V6, Family, Testbed
from tests.e2e.tunrouter import Tunrouter
from tests.e2e.udp import BARE, ECHO, HOME, OFFICE, RULES, add_bare_routes
from tests.e2e.wait import wait_until

pytestmark = pytest.mark.rules(RULES)

OTHER_MAC = "02:00:00:00:00:77"
OTHER_ADDRESS = {4: "192.0.2.88/24 dev eth0", 6: "2001:db8:2::88/64 dev eth0"}
LOWER_MTU = 1400
PATH_MTU = {4: (socket.IPPROTO_IP, 14), 6: (socket.IPPROTO_IPV6, 24)}
"""IP_MTU, IPV6_MTU (linux/in.h, linux/in6.h)."""
PUBLISHED = """
table inet published {
    chain prerouting {
        type nat hook prerouting priority -100
        tcp dport 8080 dnat ip to 10.1.0.2:80
    }
}
"""
QUEUE = 2 << 20
"""Bytes that wait for an interface of 1 Mbit/s: 16 seconds."""
SENDERS = 4
"""Of which each may have as many datagrams in the TUN as the interface sends in 2 seconds."""
LATE_MS = 2000
TIME = re.compile(r"time=([\d.]+) ms")


@pytest.fixture
def slow_vpn(bed: Testbed) -> Iterator[None]:
    tbf = ("tbf", "rate", "1mbit", "burst", "3000", "limit", str(QUEUE))
    bed.router.run("tc", "qdisc", "add", "dev", "wg0", "root", *tbf)
    yield
    bed.router.run("tc", "qdisc", "del", "dev", "wg0", "root")


@pytest.mark.parametrize("lengths", [(1200,), (1200, 1201)], ids=["frames", "one-by-one"])
def test_a_slow_outbound_delays_nothing_of_another(
    bed: Testbed, direct: Tunrouter, slow_vpn: None, family: Family, lengths: tuple[int, ...]
) -> None:
    """Flooded with datagrams until its queue is full: alike, so that they leave in frames by the
    packet socket, and of lengths that take turns, so that each leaves by the raw socket."""
    address = family.far(OFFICE), ECHO
    with ExitStack() as stack:
        for _ in range(SENDERS):
            flood = stack.enter_context(sockets.datagram(bed.router, family))
            flood.connect(address)
            stack.enter_context(alongside(partial(_flood, flood, lengths)))
        pinged = ping.answered(bed.router, family.far(HOME), count=20)
    assert pinged.received == 20
    assert max(map(float, TIME.findall(pinged.text))) < LATE_MS


def _flood(sock: socket.socket, lengths: tuple[int, ...]) -> None:
    for number in range(QUEUE // SENDERS // 1000):
        sock.send(bytes(lengths[number % len(lengths)]))


def test_the_mtu_of_an_interface_is_lowered(
    bed: Testbed, direct: Tunrouter, by_sockets: bool, family: Family
) -> None:
    with upload(bed, family, family.far(HOME)) as running:
        wait_for_more(bed, running, by_sockets)
        try:
            for namespace, interface in ((bed.router, "eth0"), (bed.gw, "home0")):
                namespace.ip(f"link set {interface} mtu {LOWER_MTU}")
            running.wait_for_segments_of(LOWER_MTU)
            wait_for_more(bed, running, by_sockets)
            assert _path_mtu(bed, family, BARE) == LOWER_MTU
            wait_until(
                lambda: _path_mtu(bed, family, HOME + 3) == LOWER_MTU, "the routes to follow"
            )
        finally:
            for namespace, interface in ((bed.router, "eth0"), (bed.gw, "home0")):
                namespace.ip(f"link set {interface} mtu 1500")
        wait_for_more(bed, running, by_sockets)


def _path_mtu(bed: Testbed, family: Family, host: int) -> int:
    """Of packets to a host that nothing was sent to: that of the route."""
    with sockets.datagram(bed.router, family) as sock:
        sock.connect((family.far(host), ECHO))
        return sock.getsockopt(*PATH_MTU[family.version])


def test_no_ping_is_lost_when_the_mtu_is_lowered(
    bed: Testbed, direct: Tunrouter, by_sockets: bool, family: Family
) -> None:
    """As on the bare path: nothing has to be opened again."""
    with upload(bed, family, family.far(HOME)) as running, _pinged_all_the_time(bed, family):
        wait_for_more(bed, running, by_sockets)
        try:
            bed.router.ip(f"link set eth0 mtu {LOWER_MTU}")
            running.wait_for_segments_of(LOWER_MTU)
            wait_for_more(bed, running, by_sockets)
        finally:
            bed.router.ip("link set eth0 mtu 1500")


def test_no_ping_is_lost_when_addresses_come_and_go(
    bed: Testbed, direct: Tunrouter, family: Family
) -> None:
    """Others than the one that the pings come from."""
    other = OTHER_ADDRESS[family.version]
    with _pinged_all_the_time(bed, family):
        for _ in range(5):
            bed.router.ip(f"addr add {other}" + (" nodad" if family.version == 6 else ""))
            bed.router.ip(f"addr del {other}")


def test_no_ping_is_lost_when_ports_are_published(
    bed: Testbed, direct: Tunrouter, family: Family
) -> None:
    """As when Docker starts: what the upload sends from then on may answer a request of another
    host, so it waits until connection tracking has said that it does not."""
    with upload(bed, family, family.far(HOME)) as running, _pinged_all_the_time(bed, family):
        running.wait_for_more()
        bed.router.run("nft", "-f", "-", stdin=PUBLISHED)
        try:
            wait_until(lambda: is_direct(bed, family, family.far(HOME + 2)), "another connection")
            running.wait_for_more()
        finally:
            bed.router.run("nft", "delete", "table", "inet", "published")


@contextmanager
def _pinged_all_the_time(bed: Testbed, family: Family) -> Iterator[None]:
    """Each ping of those that are sent in the block is answered; all come from one address, as the
    system may prefer one that is new."""
    pings = ping.start(bed.router, family.far(HOME + 1), "-i", "0.01", "-I", family.eth0)
    try:
        wait_until(lambda: "icmp_seq" in pings.stdout, "an answer")
        yield
        ping.wait_for_the_rest(pings)
    finally:
        pings.close()


def test_the_mtu_of_the_path_is_lowered(
    bed: Testbed, direct: Tunrouter, by_sockets: bool, family: Family
) -> None:
    """Behind the gateway, which tells it by ICMP errors."""
    with upload(bed, family, family.far(HOME)) as running:
        wait_for_more(bed, running, by_sockets)
        try:
            bed.gw.ip(f"link set far0 mtu {LOWER_MTU}")
            running.wait_for_segments_of(LOWER_MTU)
            wait_for_more(bed, running, by_sockets)
        finally:
            bed.gw.ip("link set far0 mtu 1500")


@pytest.fixture
def announced(bed: Testbed) -> Iterator[None]:
    """The gateway tells its neighbours when its link address changes; afterwards it is as it
    was."""
    before = bed.gw.run("cat", "/sys/class/net/home0/address").stdout.strip()
    bed.gw.sysctl(ipv4__conf__home0__arp_notify=1, ipv6__conf__home0__ndisc_notify=1)
    yield
    bed.gw.ip(f"link set home0 address {before}")
    for family in (V4, V6):
        ping.answered(bed.router, family.gateway, count=1)


def test_the_gateway_gets_another_link_address(
    bed: Testbed, direct: Tunrouter, announced: None, by_sockets: bool, family: Family
) -> None:
    with upload(bed, family, family.far(HOME)) as running:
        wait_for_more(bed, running, by_sockets)
        bed.gw.ip(f"link set home0 address {OTHER_MAC}")
        wait_for_more(bed, running, by_sockets)


def test_the_route_gets_another_gateway(
    bed: Testbed, direct: Tunrouter, other_gateway: None, by_sockets: bool, family: Family
) -> None:
    def goes_by_it() -> bool:
        before = bed.gw.counter(LINK, "rx_bytes")
        running.wait_for_more()
        return bed.gw.counter(LINK, "rx_bytes") - before >= MORE

    with upload(bed, family, family.far(HOME)) as running:
        wait_for_more(bed, running, by_sockets)
        assert not goes_by_it()
        bed.router.ip(f"route replace default via {ADDRESS[family.version]} dev eth0")
        wait_until(goes_by_it, "the upload by the other gateway")
        wait_for_more(bed, running, by_sockets)


@pytest.fixture
def own_announced(bed: Testbed) -> Iterator[None]:
    """As `announced`, by the router."""
    before = bed.router.run("cat", "/sys/class/net/eth0/address").stdout.strip()
    bed.router.sysctl(ipv4__conf__eth0__arp_notify=1, ipv6__conf__eth0__ndisc_notify=1)
    yield
    bed.router.ip(f"link set eth0 address {before}")
    for family in (V4, V6):
        ping.answered(bed.router, family.gateway, count=1)


def test_the_interface_gets_another_link_address(
    bed: Testbed, direct: Tunrouter, own_announced: None, by_sockets: bool, family: Family
) -> None:
    """Frames that are yet to be cut come from it as all others do."""
    with upload(bed, family, family.far(HOME)) as running, LinkArrivals(bed.gw) as arrivals:
        wait_for_more(bed, running, by_sockets)
        bed.router.ip(f"link set eth0 address {OTHER_MAC}")
        arrivals.wait_for_frame(OTHER_MAC, longer_than=LOWER_MTU + 1000)
        wait_for_more(bed, running, by_sockets)


def test_an_address_that_goes_and_comes_back(
    bed: Testbed, direct: Tunrouter, family: Family
) -> None:
    """Its connections end or stand still; afterwards others leave directly, as before."""
    others = 24 if family.version == 4 else 64
    address = f"{family.eth0}/{others} dev eth0" + (" nodad" if family.version == 6 else "")
    default = f"route replace default via {family.gateway}"
    with sockets.stream(bed.router, family) as idle:
        idle.settimeout(1)
        bed.router.ip(f"addr del {family.eth0}/{others} dev eth0")
        try:
            with pytest.raises(OSError):
                sockets.connect(idle, (family.far(HOME), 9))
        finally:
            bed.router.ip(f"addr add {address}", default)
    wait_until(lambda: _reached_directly(bed, family), "the direct path", detail=lambda: direct.log)


def _reached_directly(bed: Testbed, family: Family) -> bool:
    try:
        return is_direct(bed, family, family.far(HOME + 1))
    except OSError:
        return False


def test_programs_are_told_at_once_that_an_outbound_is_gone(
    bed: Testbed, direct: Tunrouter, family: Family
) -> None:
    """They do not wait for a time-out: `on_down` applies."""
    address = family.far(OFFICE)
    with sockets.listener(bed.far) as listener:
        port = sockets.port_of(listener)
        bed.close_tunnel()
        try:
            direct.wait_until_down("office")
            with pytest.raises(ConnectionRefusedError):
                sockets.connected(bed.router, family, address, port)
        finally:
            bed.open_tunnel()
            add_bare_routes(bed)
            direct.wait_until_up("office", V4.wg0, V6.wg0)
        wait_until(lambda: is_direct(bed, family, address), "the direct path")
