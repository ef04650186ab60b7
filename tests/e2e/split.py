"""Rules that send one far host by each outbound, and traffic to both."""

from __future__ import annotations

from typing import Final

from tests.e2e import ping
from tests.e2e.testbed import FAMILIES, Testbed
from tests.e2e.tunrouter import rules

HOME: Final = 1
VPN: Final = 2
LINES: Final = (
    *(f"{family.far(HOME)} -> home" for family in FAMILIES),
    *(f"{family.far(VPN)} -> office" for family in FAMILIES),
)
RULES: Final = rules(*LINES)


def ping_both(bed: Testbed) -> None:
    """Pings both hosts in both families, from the client and from the router's machine, so by both
    paths: afterwards the router has created all that it has to clean up."""
    for family in FAMILIES:
        for host in (HOME, VPN):
            assert ping.answered(bed.client, family.far(host)).received == 3
            assert ping.answered(bed.router, family.far(host), count=1).received == 1
