"""Rules for a protocol bring the rest of their prefix into the TUN; it leaves by its own route."""

from __future__ import annotations

from pathlib import Path

from tests.e2e import ping
from tests.e2e.capture import Capture
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import HEAD, running

HOST = 1

RULE = '  - {{cidr: ["{}", "{}"], protocol: tcp, policy: reject}}\n'
RULES = f"""\
{HEAD}
rules:
{"".join(RULE.format(family.far_net, family.office_net) for family in FAMILIES)}
default: bypass
"""


def test_the_rule_holds_and_the_rest_leaves_by_the_systems_own_route(
    bed: Testbed, tmp_path: Path
) -> None:
    """The default route for one net, a route by the tunnel for the other; both change meanwhile."""
    by_tunnel = [f"{family.office_net} dev wg0 metric 50" for family in FAMILIES]
    bed.router.ip(*(f"route add {each}" for each in by_tunnel))
    try:
        with running(bed.router, tmp_path, RULES):
            for family in FAMILIES:
                _assert_the_rest_leaves(bed, family)
                command = "nc", "-n", "-w", "5", "-v", family.far(HOST), "80"
                done = bed.client.run(*command, check=False, stdin="")
                assert "refused" in done.stderr, family
    finally:
        bed.router.ip(*(f"route del {each}" for each in by_tunnel))


def _assert_the_rest_leaves(bed: Testbed, family: Family) -> None:
    far, office = family.far(HOST), family.office(HOST)
    with Capture(bed.far) as capture:
        for source in (bed.client, bed.router):
            assert ping.answered(source, far).received == 3
            assert ping.answered(source, office).received == 3
        assert capture.arrivals(far) == {("home0", family.eth0)}
        assert capture.arrivals(office) == {("vpn0", family.wg0)}


def test_where_the_system_has_no_route(bed: Testbed, tmp_path: Path) -> None:
    """Nothing leads to the office's nets but the home gateway, which has no route either."""
    defaults = [f"default via {family.gateway}" for family in FAMILIES]
    bed.router.ip(*(f"route del {each}" for each in defaults))
    try:
        with running(bed.router, tmp_path, RULES):
            pinged = [ping.refused(bed.router, each.far(HOST), count=1).text for each in FAMILIES]
    finally:
        bed.router.ip(*(f"route add {each}" for each in defaults))
    for family, text in zip(FAMILIES, pinged, strict=True):
        assert f"From {family.tun_peer} icmp_seq=1 Destination" in text
        assert "Net Unreachable" in text or "No route" in text
