"""Interfaces that go and come back, and a default route that moves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e import ping
from tests.e2e.capture import Capture
from tests.e2e.testbed import FAMILIES, V4, V6, Family, Testbed
from tests.e2e.tunrouter import HEAD, rules, running
from tests.e2e.wait import wait_until

pytestmark = pytest.mark.usefixtures("reopened_tunnel")

HOME, VPN = 1, 2
SECOND_ADDRESS = "10.8.0.3", "fd08::3"

BETTER = {
    4: ("prepend", "default", "dev", "wg0"),
    6: ("add", "default", "dev", "wg0", "metric", "1"),
}
"""A default route that is preferred to the one by eth0."""

SPLIT = rules(
    *(f"{family.far(HOME)} -> home" for family in FAMILIES),
    *(f"{family.far(VPN)} -> office" for family in FAMILIES),
    *(f"{family.office_net} -> office" for family in FAMILIES),
)


def _index(bed: Testbed, interface: str) -> int:
    [link] = json.loads(bed.router.run("ip", "-j", "link", "show", "dev", interface).stdout)
    return int(link["ifindex"])


def test_a_vpn_that_returns_with_another_index_and_address(
    bed: Testbed, family: Family, tmp_path: Path
) -> None:
    address = family.office(1)
    with running(bed.router, tmp_path, SPLIT) as router:
        assert ping.answered(bed.client, address).received == 3
        first = _index(bed, "wg0")
        bed.close_tunnel()
        router.wait_until_down("office")
        bed.open_tunnel()
        assert _index(bed, "wg0") != first
        router.wait_until_up("office", V4.wg0, V6.wg0)
        assert ping.answered(bed.client, address).received == 3
        # The address moves while the interface stays.
        new = SECOND_ADDRESS[family.version == 6]
        bits = family.host_bits
        bed.vpn_wg.add_peer(
            bed.router_wg.public_key,
            (f"{V4.wg0}/32", f"{V6.wg0}/128", f"{new}/{bits}"),
        )
        length = 24 if family.version == 4 else 64
        bed.router.ip(f"addr del {family.wg0}/{length} dev wg0", f"addr add {new}/{length} dev wg0")
        try:
            router.wait_until_up(
                "office", *(new if each is family else each.wg0 for each in FAMILIES)
            )
            with Capture(bed.far) as far:
                assert ping.answered(bed.client, address).received == 3
                assert far.arrivals(address) == {("vpn0", new)}
        finally:
            bed.close_tunnel()
    bed.open_tunnel()


def test_a_link_that_is_down_for_a_while(bed: Testbed, family: Family, tmp_path: Path) -> None:
    """The interface stays, but is of no use: its policy is down until it is up again."""
    head = HEAD.replace("wg0}", "wg0}\n  lan: {type: direct, interface: lan0}")
    address = family.office(9)
    text = rules(*(f"{each.office(9)} -> lan" for each in FAMILIES), head=head)
    with running(bed.router, tmp_path, text) as router:
        router.wait_until_up("lan", V4.lan, V6.lan)
        bed.router.ip("link set lan0 down")
        try:
            router.wait_until_down("lan")
            wait_until(lambda: "planned again" in router.log, "routes without its addresses")
            assert ping.refused(bed.router, address).prohibited == 3
        finally:
            bed.router.ip(
                "link set lan0 up",
                "addr replace fd01::1/64 dev lan0 nodad",
            )
        router.wait_until_up("lan", V4.lan, V6.lan)


def test_the_default_route_moves(bed: Testbed, family: Family, tmp_path: Path) -> None:
    head = HEAD.replace("interface: eth0", "interface: default")
    address = family.far(HOME)
    default = f"-{family.version}", "route"
    with running(bed.router, tmp_path, rules(f"{address} -> home", head=head)) as router:
        with Capture(bed.far) as far:
            assert ping.answered(bed.client, address).received == 3
            assert far.arrivals(address) == {("home0", family.eth0)}
        bed.router.ip(f"route add {V4.vpn_outside} via {V4.gateway}")  # for WireGuard itself
        bed.router.run("ip", *default, *BETTER[family.version])
        try:
            moved = (each.wg0 if each is family else each.eth0 for each in FAMILIES)
            router.wait_until_up("home", *moved)
            with Capture(bed.far) as far:
                assert ping.answered(bed.client, address).received == 3
                assert far.arrivals(address) == {("vpn0", family.wg0)}
        finally:
            bed.router.run("ip", *default, "del", "default", "dev", "wg0")
            bed.router.ip(f"route del {V4.vpn_outside}")
        router.wait_until_up("home", V4.eth0, V6.eth0)
        with Capture(bed.far) as far:
            assert ping.answered(bed.client, address).received == 3
            assert far.arrivals(address) == {("home0", family.eth0)}
