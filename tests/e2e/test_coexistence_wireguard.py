"""WireGuard beside the router: as a full tunnel by wg-quick, as a second policy, and as the
outbound of everything without its own packets looping.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e import ping
from tests.e2e.capture import ICMP, Capture
from tests.e2e.coexistence import SECOND, full_tunnel, second_own, second_tunnel, within_tunnel
from tests.e2e.snapshot import state, wait_for_state
from tests.e2e.split import HOME, RULES, VPN
from tests.e2e.test_check import installed, planned
from tests.e2e.testbed import FAMILIES, V4, V6, Family, Testbed
from tests.e2e.tunrouter import HEAD, PROGRAM, TUN, rules, running, write_rules
from tests.e2e.wait import wait_until

LAB, OTHER = 3, 9


def expect_split(bed: Testbed, family: Family, other: tuple[str, str]) -> None:
    """Our rules decide about their addresses; the rest of the traffic arrives as `other`."""
    expected = {
        HOME: ("home0", family.eth0),
        VPN: ("vpn0", family.wg0),
        OTHER: other,
    }
    with Capture(bed.far) as far:
        for host in expected:
            assert ping.answered(bed.router, family.far(host)).received == 3
        for host, arrival in expected.items():
            assert far.arrivals(family.far(host)) == {arrival}


def test_a_full_tunnel_that_was_there_before(bed: Testbed, tmp_path: Path) -> None:
    with full_tunnel(bed, tmp_path) as tunnel:
        tunnel.up()
        before = state(bed.router)
        with running(bed.router, tmp_path, RULES):
            for family in FAMILIES:
                expect_split(bed, family, ("vpn0", second_own(family)))
        wait_for_state(bed.router, before)


def test_a_full_tunnel_that_comes_and_goes_meanwhile(bed: Testbed, tmp_path: Path) -> None:
    with full_tunnel(bed, tmp_path) as tunnel:
        before = state(bed.router)
        with running(bed.router, tmp_path, RULES):
            tunnel.up()
            for family in FAMILIES:
                expect_split(bed, family, ("vpn0", second_own(family)))
            tunnel.down()
            for family in FAMILIES:
                expect_split(bed, family, ("home0", family.eth0))
        wait_for_state(bed.router, before)


def test_a_full_tunnel_that_ends_before_us(bed: Testbed, tmp_path: Path) -> None:
    with full_tunnel(bed, tmp_path) as tunnel:
        before = state(bed.router)
        tunnel.up()
        with running(bed.router, tmp_path, RULES):
            tunnel.down()
            for family in FAMILIES:
                expect_split(bed, family, ("home0", family.eth0))
        wait_for_state(bed.router, before)


def test_everything_captured_wins_against_a_full_tunnel(bed: Testbed, tmp_path: Path) -> None:
    """Our halves are more specific than its default route; its own packets go on by eth0."""
    text = rules(*(f"{family.far(VPN)} -> office" for family in FAMILIES), default="home")
    with full_tunnel(bed, tmp_path) as tunnel:
        tunnel.up()
        with running(bed.router, tmp_path, text):
            for family in FAMILIES:
                expect_split(bed, family, ("home0", family.eth0))


def test_two_tunnels_are_two_policies(bed: Testbed, family: Family, tmp_path: Path) -> None:
    head = HEAD.replace("wg0}", f"wg0}}\n  lab: {{type: vpn, interface: {SECOND}}}")
    text = rules(
        *(f"{each.far(VPN)} -> office" for each in FAMILIES),
        *(f"{each.far(LAB)} -> lab" for each in FAMILIES),
        head=head,
    )
    with second_tunnel(bed):
        before = state(bed.router)
        with running(bed.router, tmp_path, text), Capture(bed.far) as far:
            for host in (VPN, LAB):
                assert ping.answered(bed.client, family.far(host)).received == 3
            assert far.arrivals(family.far(VPN)) == {("vpn0", family.wg0)}
            assert far.arrivals(family.far(LAB)) == {("vpn0", second_own(family))}
        wait_for_state(bed.router, before)


@pytest.mark.parametrize(
    "text",
    [rules(default="office"), rules("203.0.113.0/24 -> office", f"{V4.far(VPN)} -> office")],
    ids=["everything", "its network"],
)
def test_the_endpoint_of_a_tunnel_bypasses_it(bed: Testbed, tmp_path: Path, text: str) -> None:
    """Read from wireguard-go itself; check and run plan the same hole, and both report it."""
    within = within_tunnel(bed)
    rules_file = write_rules(tmp_path, text)
    command = (PROGRAM, "check", "-c", str(rules_file), "--format", "json")
    report = json.loads(within.run(*command).stdout)
    assert {problem["code"] for problem in report["problems"]} <= {
        "unused-policy",
        "dns-server-captured",
    }
    note = f"{V4.vpn_outside} bypasses the TUN"
    assert [note in each for each in report["plan"]["notes"]].count(True) == 1
    with running(within, tmp_path, text) as router, Capture(bed.router) as at_router:
        assert note in router.log
        assert installed(bed) == planned(report)
        with Capture(bed.far) as far:
            assert ping.counted(bed.router, V4.far(VPN)).received == 3
            assert far.arrivals(V4.far(VPN)) == {("vpn0", V4.wg0)}
        requests = [seen for seen in at_router.on(TUN) if "echo request" in seen.text]
        assert len(requests) == 3, "each request enters the TUN once"
        [route] = json.loads(bed.router.run("ip", "-j", "route", "get", V4.vpn_outside).stdout)
        assert route["dev"] == "eth0"


def test_an_ipv6_endpoint_bypasses_its_tunnel(bed: Testbed, tmp_path: Path) -> None:
    """Everything goes into the VPN but its own packets, which are IPv6; both families by it."""
    bed.close_tunnel()
    bed.open_tunnel(V6.vpn_outside)
    try:
        own = f"udp and dst host {V6.vpn_outside}"
        with (
            running(within_tunnel(bed), tmp_path, rules(default="office")) as router,
            Capture(bed.router, f"({own}) or {ICMP}") as at_router,
            Capture(bed.far) as far,
        ):
            assert f"{V6.vpn_outside} bypasses the TUN" in router.log
            for family in FAMILIES:
                assert ping.counted(bed.router, family.far(VPN)).received == 3
                assert far.arrivals(family.far(VPN)) == {("vpn0", family.wg0)}
            [route] = json.loads(
                bed.router.run("ip", "-6", "-j", "route", "get", V6.vpn_outside).stdout
            )
            assert route["dev"] == "eth0"
            seen = at_router.packets()
        assert len([s for s in seen if s.interface == TUN and "echo request" in s.text]) == 6
        outside = {s.interface for s in seen if s.destination.startswith(V6.vpn_outside + ".")}
        assert outside == {"eth0"}, "not one of its own packets has entered a tunnel"
    finally:
        bed.close_tunnel()
        bed.open_tunnel()


def test_the_endpoint_of_a_tunnel_that_comes_later(bed: Testbed, tmp_path: Path) -> None:
    """Everything goes into a tunnel that appears later: from then on its endpoint bypasses it."""
    head = HEAD.replace("wg0}", f"{SECOND}}}")
    holder = within_tunnel(bed)
    with (
        full_tunnel(bed, tmp_path) as tunnel,
        running(tunnel.within, tmp_path, rules(head=head, default="office")) as router,
    ):
        assert "policy office: down" in router.log
        assert ping.refused(holder, V4.far(VPN)).prohibited == 3
        tunnel.up()
        wait_until(
            lambda: ping.unanswered(holder, V4.far(VPN)).received == 3,
            "everything to go by the tunnel",
            detail=lambda: router.log,
        )
        with Capture(bed.far) as far:
            assert ping.answered(holder, V4.far(VPN)).received == 3
            assert far.arrivals(V4.far(VPN)) == {("vpn0", second_own(V4))}
        assert f"{V4.vpn_outside} bypasses the TUN" in router.log
