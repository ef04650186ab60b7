"""Interfaces that go and come back, and a default route that moves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e import ping
from tests.e2e.capture import Capture
from tests.e2e.testbed import FAMILIES, V4, V6, Family, Testbed
from tests.e2e.tunrouter import HEAD, Tunrouter, rules, running
from tests.e2e.wait import wait_until

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


@pytest.fixture(autouse=True)
def _tunnel_afterwards(bed: Testbed) -> Iterator[None]:
    yield
    if not bed.router.has_interface("wg0"):
        bed.open_tunnel()


def _log(router: Tunrouter) -> Callable[[], str]:
    return lambda: router.log


def _last(router: Tunrouter, policy: str) -> str:
    """What the log says last about a policy."""
    return [line for line in router.log.splitlines() if f"policy {policy}:" in line][-1]


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
        wait_until(lambda: "policy office: down" in router.log, "it to be down")
        ups = router.log.count("policy office: up")
        bed.open_tunnel()
        assert _index(bed, "wg0") != first
        wait_until(lambda: router.log.count("policy office: up") > ups, "it to be up")
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
            wait_until(lambda: new in _last(router, "office"), "its use", detail=_log(router))
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
        assert "policy lan: up" in router.log
        bed.router.ip("link set lan0 down")
        try:
            wait_until(lambda: "policy lan: down" in router.log, "it to be down")
            assert ping.unanswered(bed.router, address).prohibited == 3
        finally:
            bed.router.ip(
                "link set lan0 up",
                "addr replace fd01::1/64 dev lan0 nodad",
            )
        wait_until(
            lambda: router.log.count("policy lan: up") == 2, "it to be up", detail=_log(router)
        )


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
            wait_until(lambda: "wg0" in _last(router, "home"), "it to follow", detail=_log(router))
            with Capture(bed.far) as far:
                assert ping.answered(bed.client, address).received == 3
                assert far.arrivals(address) == {("vpn0", family.wg0)}
        finally:
            bed.router.run("ip", *default, "del", "default", "dev", "wg0")
            bed.router.ip(f"route del {V4.vpn_outside}")
        wait_until(lambda: "wg0" not in _last(router, "home"), "it to be back", detail=_log(router))
        with Capture(bed.far) as far:
            assert ping.answered(bed.client, address).received == 3
            assert far.arrivals(address) == {("home0", family.eth0)}
