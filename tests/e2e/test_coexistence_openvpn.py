"""OpenVPN beside the router, with redirect-gateway: its two halves of everything, and its own route
to its server, whose address the system does not report.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.e2e import ping
from tests.e2e.capture import Capture
from tests.e2e.coexistence import OPENVPN, OPENVPN_OWN, openvpn
from tests.e2e.snapshot import state, wait_for_state
from tests.e2e.split import RULES, VPN
from tests.e2e.test_coexistence_wireguard import OTHER, expect_split
from tests.e2e.testbed import FAMILIES, V4, Testbed
from tests.e2e.tunrouter import HEAD, PROGRAM, TUN, rules, running, write_rules
from tests.e2e.wait import wait_until

REDIRECT = ("--redirect-gateway", "def1")
BY_OPENVPN = ("vpn0", OPENVPN_OWN)
BY_HOME = ("home0", V4.eth0)
THROUGH_IT = HEAD.replace("wg0}", f"{OPENVPN}}}")


def test_a_redirected_gateway_that_was_there_before(bed: Testbed, tmp_path: Path) -> None:
    with openvpn(bed, tmp_path) as tunnel:
        without = state(bed.router)
        tunnel.up(*REDIRECT)
        before = state(bed.router)
        with running(bed.router, tmp_path, RULES):
            expect_split(bed, V4, BY_OPENVPN)
        wait_for_state(bed.router, before)
        tunnel.down()
        wait_for_state(bed.router, without)


def test_a_redirected_gateway_that_comes_and_goes_meanwhile(bed: Testbed, tmp_path: Path) -> None:
    with openvpn(bed, tmp_path) as tunnel:
        before = state(bed.router)
        with running(bed.router, tmp_path, RULES):
            tunnel.up(*REDIRECT)
            expect_split(bed, V4, BY_OPENVPN)
            tunnel.down()
            expect_split(bed, V4, BY_HOME)
        wait_for_state(bed.router, before)


def test_halves_against_halves(bed: Testbed, tmp_path: Path) -> None:
    """Everything captured by us and everything captured by OpenVPN: ours win in
    either order, and stay when OpenVPN removes its own."""
    text = rules(*(f"{family.far(VPN)} -> office" for family in FAMILIES), default="home")
    with openvpn(bed, tmp_path) as tunnel:
        tunnel.up(*REDIRECT)
        with running(bed.router, tmp_path, text):
            expect_split(bed, V4, BY_HOME)
            tunnel.down()
            expect_split(bed, V4, BY_HOME)
            tunnel.up(*REDIRECT)
            _wait_until_ours_are_first(bed)
            expect_split(bed, V4, BY_HOME)
            tunnel.down()
            expect_split(bed, V4, BY_HOME)


def _wait_until_ours_are_first(bed: Testbed) -> None:
    """OpenVPN puts its halves before ours, and ours go before them again."""

    def devices() -> list[str]:
        get = ("ip", "-j", "route", "get")
        return [
            json.loads(bed.router.run(*get, address).stdout)[0]["dev"]
            for address in ("11.0.0.1", V4.far(OTHER))
        ]

    wait_until(lambda: devices() == [TUN, TUN], "our halves to be first")


def test_everything_through_openvpn(bed: Testbed, tmp_path: Path) -> None:
    """Its own packets have its own route to the server, so that nothing loops."""
    with openvpn(bed, tmp_path) as tunnel:
        tunnel.up(*REDIRECT)
        with (
            running(bed.router, tmp_path, rules(head=THROUGH_IT, default="office")),
            Capture(bed.far) as far,
        ):
            assert ping.answered(bed.router, V4.far(OTHER)).received == 3
            assert far.arrivals(V4.far(OTHER)) == {BY_OPENVPN}


def test_check_warns_of_the_unknown_endpoint_of_openvpn(bed: Testbed, tmp_path: Path) -> None:
    """Without redirect-gateway it has no route to its server: only the user knows the address."""
    rules_file = write_rules(tmp_path, rules(head=THROUGH_IT, default="office"))
    command = (PROGRAM, "check", "-c", str(rules_file), "--format", "json")
    with openvpn(bed, tmp_path) as tunnel:
        tunnel.up()
        report = json.loads(bed.router.run(*command, check=False).stdout)
        assert "endpoint-unknown" in [problem["code"] for problem in report["problems"]]
        text = rules(f"{V4.vpn_outside} -> bypass", head=THROUGH_IT, default="office")
        with running(bed.router, tmp_path, text), Capture(bed.far) as far:
            assert ping.answered(bed.router, V4.far(OTHER)).received == 3
            assert far.arrivals(V4.far(OTHER)) == {BY_OPENVPN}
        tunnel.down()
        tunnel.up(*REDIRECT)
        report = json.loads(bed.router.run(*command, check=False).stdout)
        assert "endpoint-unknown" not in [problem["code"] for problem in report["problems"]]
