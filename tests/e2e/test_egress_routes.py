"""Outbounds that are hard to bind to: strict rp_filter, everything captured, an absent VPN."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product
from pathlib import Path

import pytest

from tests.e2e import ping
from tests.e2e.capture import Capture
from tests.e2e.snapshot import state, wait_for_state
from tests.e2e.split import HOME, RULES, VPN
from tests.e2e.testbed import FAMILIES, V4, V6, Testbed
from tests.e2e.tunrouter import HEAD, TUN, Tunrouter, rules, running
from tests.e2e.wait import wait_until

ANY = 9


@pytest.fixture
def strict(bed: Testbed) -> Iterator[None]:
    """rp_filter=1 wherever it can be set, and for the TUN, which is made later."""
    _set_rp_filter(bed, 1)
    yield
    _set_rp_filter(bed, 0)


def _set_rp_filter(bed: Testbed, value: int) -> None:
    for interface in ("all", "default", "eth0", "wg0", "lan0"):
        bed.router.sysctl(**{f"ipv4__conf__{interface}__rp_filter": value})


@pytest.fixture
def no_tunnel(bed: Testbed, reopened_tunnel: None) -> None:
    """The router without its wg0."""
    bed.close_tunnel()


def test_strict_rp_filter(bed: Testbed, strict: None, tmp_path: Path) -> None:
    before = state(bed.router)
    with running(bed.router, tmp_path, RULES), Capture(bed.far) as far:
        for family, pinger in product(FAMILIES, (bed.client, bed.router)):
            assert ping.answered(pinger, family.far(HOME)).received == 3
            assert ping.answered(pinger, family.far(VPN)).received == 3
        for family in FAMILIES:
            assert far.arrivals(family.far(HOME)) == {("home0", family.eth0)}
            assert far.arrivals(family.far(VPN)) == {("vpn0", family.wg0)}
    wait_for_state(bed.router, before)


def test_everything_captured(bed: Testbed, tmp_path: Path) -> None:
    """`default: home` makes two halves of each family, and what goes out does not come back in."""
    # WireGuard's own packets bypass the TUN by a rule, as the user would configure it.
    offices = (f"{family.office_net} -> office" for family in FAMILIES)
    text = rules(f"{V4.vpn_outside} -> bypass", *offices, default="home")
    with (
        running(bed.router, tmp_path, text) as router,
        Capture(bed.far) as far,
        Capture(bed.router) as at_router,
    ):
        for family, pinger in product(FAMILIES, (bed.client, bed.router)):
            assert ping.answered(pinger, family.far(ANY)).received == 3
            assert ping.answered(pinger, family.office(1)).received == 3
        for family in FAMILIES:
            assert far.arrivals(family.far(ANY)) == {("home0", family.eth0)}
            assert far.arrivals(family.office(1)) == {("vpn0", family.wg0)}
        requests = [seen for seen in at_router.on(TUN) if "echo request" in seen.text]
        assert len(requests) >= 24
        assert len(requests) == len(set(requests)), "each request enters the TUN once"
        assert router.stop().counters["loop"] == 0


def test_everything_is_two_halves(bed: Testbed, tmp_path: Path) -> None:
    with running(bed.router, tmp_path, rules(default="home", head=HEAD)):
        for family, halves in ((V4, {"0.0.0.0/1", "128.0.0.0/1"}), (V6, {"::/1", "8000::/1"})):
            listed = bed.router.run("ip", f"-{family.version}", "route", "show", "dev", TUN).stdout
            assert halves <= {line.split()[0] for line in listed.splitlines()}


def test_an_absent_vpn_is_down_until_it_appears(
    bed: Testbed, no_tunnel: None, tmp_path: Path
) -> None:
    offices = (f"{family.office_net} -> office" for family in FAMILIES)
    with running(bed.router, tmp_path, rules(*offices)) as router:
        assert re.search(r"office.*\bdown\b", router.log), router.log
        for family in FAMILIES:
            assert ping.refused(bed.client, family.office(1)).prohibited == 3
        bed.open_tunnel()
        for family in FAMILIES:
            address = family.office(1)
            used = partial(_received_all, bed, address)
            wait_until(used, f"the VPN to be used for {family}", detail=_log(router))
            with Capture(bed.far) as far:
                assert ping.answered(bed.client, address).received == 3
                assert far.arrivals(address) == {("vpn0", family.wg0)}
        bed.close_tunnel()
        for family in FAMILIES:
            refused = partial(_prohibited_all, bed, family.office(1))
            wait_until(refused, f"it to be down for {family}", detail=_log(router))


@pytest.mark.parametrize("policy", ["drop", "home"])
def test_on_down_may_be_silence_or_another_outbound(
    bed: Testbed, no_tunnel: None, policy: str, tmp_path: Path
) -> None:
    head = HEAD.replace("interface: wg0", f"interface: wg0, on_down: {policy}")
    lines = (f"{family.far(VPN)} -> office" for family in FAMILIES)
    with (
        running(bed.router, tmp_path, rules(*lines, head=head)),
        Capture(bed.far) as far,
    ):
        for family in FAMILIES:
            address = family.far(VPN)
            for pinger in (bed.client, bed.router):
                if policy == "drop":
                    pinged = ping.unanswered(pinger, address)
                    assert (pinged.received, pinged.prohibited) == (0, 0), pinged.text
                    assert far.about(address) == []
                else:
                    assert ping.answered(pinger, address).received == 3
                    assert far.arrivals(address) == {("home0", family.eth0)}


def _received_all(bed: Testbed, address: str) -> bool:
    return ping.unanswered(bed.client, address).received == 3


def _prohibited_all(bed: Testbed, address: str) -> bool:
    return ping.unanswered(bed.client, address).prohibited == 3


def _log(router: Tunrouter) -> Callable[[], str]:
    return lambda: router.log
