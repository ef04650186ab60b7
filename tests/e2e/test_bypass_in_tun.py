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


def test_the_rest_leaves_by_the_systems_own_route(
    bed: Testbed, tmp_path: Path, family: Family
) -> None:
    """The default route for one net, a route by the tunnel for the other; both change meanwhile."""
    far, office = family.far(HOST), family.office(HOST)
    bed.router.ip(f"route add {family.office_net} dev wg0 metric 50")
    try:
        with running(bed.router, tmp_path, RULES), Capture(bed.far) as capture:
            for source in (bed.client, bed.router):
                assert ping.answered(source, far).received == 3
                assert ping.answered(source, office).received == 3
            assert capture.arrivals(far) == {("home0", family.eth0)}
            assert capture.arrivals(office) == {("vpn0", family.wg0)}
    finally:
        bed.router.ip(f"route del {family.office_net} dev wg0 metric 50")


def test_the_rule_itself_holds(bed: Testbed, tmp_path: Path, family: Family) -> None:
    with running(bed.router, tmp_path, RULES):
        done = bed.client.run(
            *("nc", "-n", "-w", "5", "-v", family.far(HOST), "80"), check=False, stdin=""
        )
    assert "refused" in done.stderr


def test_where_the_system_has_no_route(bed: Testbed, tmp_path: Path, family: Family) -> None:
    """Nothing leads to the office's nets but the home gateway, which has no route either."""
    default = f"default via {family.gateway}"
    bed.router.ip(f"route del {default}")
    try:
        with running(bed.router, tmp_path, RULES):
            pinged = ping.refused(bed.router, family.far(HOST), count=1)
    finally:
        bed.router.ip(f"route add {default}")
    assert f"From {family.tun_peer} icmp_seq=1 Destination" in pinged.text
    assert "Net Unreachable" in pinged.text or "No route" in pinged.text
