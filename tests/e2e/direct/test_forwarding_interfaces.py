"""The kernel forwards by interfaces of several kinds."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, NamedTuple

import pytest

from router.platform.linux.only_on_linux import TCP_INFO
from tests.e2e.direct.ends import end
from tests.e2e.direct.forwarding import MEGABYTE, SEGS_OUT, flows, transfer, tun_file
from tests.e2e.netns import Namespace
from tests.e2e.status import read_status
from tests.e2e.testbed import V4, V6, Testbed
from tests.e2e.tunrouter import HEAD, Tunrouter, rules
from tests.e2e.udp import HOME

OUT: Final = "out0"
POLICIES: Final = ("one", "two")
"""Both by OUT."""
TARGETS: Final = ((V4, HOME, "one"), (V6, HOME, "two"), (V4, HOME + 1, "two"))
BY_OUT: Final = rules(
    *(f"{family.far(host)} -> {policy}" for family, host, policy in TARGETS),
    head=HEAD + "".join(f"  {each}: {{type: vpn, interface: {OUT}}}\n" for each in POLICIES),
)
pytestmark = pytest.mark.rules(BY_OUT)


class Addresses(NamedTuple):
    """By OUT. own: of the router."""

    own: str
    length: int
    gateway: str


OF_HOME: Final = {
    4: Addresses("192.0.2.7", 24, "192.0.2.1"),
    6: Addresses("2001:db8:2::7", 64, "2001:db8:2::1"),
}
OF_TUNNEL: Final = {
    4: Addresses("192.0.6.2", 24, "192.0.6.1"),
    6: Addresses("2001:db8:6::2", 64, "2001:db8:6::1"),
}
VXLAN: Final = "type vxlan id 5 dstport 4789 dev {} remote {} local {}"


@contextmanager
def _interface(bed: Testbed, kind: str) -> Iterator[dict[int, Addresses]]:
    """OUT with addresses, and a default route that is not the system's first."""
    addresses = OF_TUNNEL if kind == "vxlan" else OF_HOME
    with ExitStack() as stack:
        if kind == "vxlan":
            bed.gw.ip(f"link add {OUT} {VXLAN.format('home0', V4.eth0, V4.gateway)}")
            stack.callback(bed.gw.ip, f"link del {OUT}")
            _set_up(bed.gw, [(each.gateway, each.length) for each in addresses.values()])
            bed.router.ip(f"link add {OUT} {VXLAN.format('eth0', V4.gateway, V4.eth0)}")
        elif kind == "macvlan":
            bed.router.ip(f"link add {OUT} link eth0 type macvlan mode bridge")
        else:
            bed.router.ip(f"link add {OUT} type bridge", f"link set eth0 master {OUT}")
        stack.callback(bed.router.ip, f"link del {OUT}")
        _set_up(bed.router, [(each.own, each.length) for each in addresses.values()])
        for each in addresses.values():
            bed.router.ip(f"route add default via {each.gateway} dev {OUT} metric 5000")
        yield addresses


def _set_up(host: Namespace, addresses: list[tuple[str, int]]) -> None:
    for address, length in addresses:
        host.ip(f"addr add {address}/{length} dev {OUT}" + " nodad" * (":" in address))
    host.ip(f"link set {OUT} up")


@pytest.mark.parametrize("kind", ["macvlan", "bridge", "vxlan"])
def test_kinds_of_interfaces(bed: Testbed, router: Tunrouter, kind: str) -> None:
    """One that comes while the router runs, by which each of two policies counts what is its."""
    with _interface(bed, kind) as addresses, tun_file(bed) as file:
        for policy in POLICIES:
            router.wait_until_up(policy, *(each.own for each in addresses.values()))
        for family, host, policy in TARGETS:
            own = addresses[family.version].own
            before = packets_out(bed, policy)
            with flows(bed, family, family.far(host)) as sent:
                address = end(sent.pair.client.getsockname())
                assert end(sent.pair.server.getpeername()) == address
                assert address[0] == own
                file.wait_until_forwarded(sent.send_segments)
                sent.transfer()
                transfer(sent.pair.server, sent.pair.client, MEGABYTE)
                info = sent.pair.client.getsockopt(socket.IPPROTO_TCP, TCP_INFO, 256)
                segments = int.from_bytes(info[SEGS_OUT], sys.byteorder)
                assert packets_out(bed, policy) - before == segments


def packets_out(bed: Testbed, policy: str) -> int:
    counted: int = read_status(bed.router)["policies"][policy]["packets_out"]
    return counted
