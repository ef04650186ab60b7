"""A second way from the router to the home gateway, beside the test bed's own.

    router           gw
    eth1 ----------- home1      192.0.4.0/24     2001:db8:4::/64     router .2, gw .1

Always true: `far` answers by the gateway, which sends to the router's address of the link that it
belongs to.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.netns import connect
from tests.e2e.testbed import Testbed
from tests.e2e.wait import wait_until

UPLINK = "eth1"
OWN = {4: "192.0.4.2", 6: "2001:db8:4::2"}
GATEWAY = {4: "192.0.4.1", 6: "2001:db8:4::1"}
LENGTH = {4: 24, 6: 64}


@contextmanager
def second_uplink(bed: Testbed, *, addresses: bool = True) -> Iterator[None]:
    """Without routes by it but those to its own networks; `addresses`: whether the router has
    any there."""
    connect(bed.router, UPLINK, bed.gw, "home1")
    try:
        for version in (4, 6):
            nodad = " nodad" if version == 6 else ""
            bed.gw.ip(f"addr add {GATEWAY[version]}/{LENGTH[version]} dev home1{nodad}")
            if addresses:
                own = f"{OWN[version]}/{LENGTH[version]}"
                bed.router.ip(f"addr add {own} dev {UPLINK}{nodad}")
        wait_until(lambda: _has_carrier(bed), f"the carrier of {UPLINK}")
        yield
    finally:
        bed.router.ip(f"link del {UPLINK}")


def _has_carrier(bed: Testbed) -> bool:
    shown = bed.router.run("cat", f"/sys/class/net/{UPLINK}/operstate", check=False).stdout
    return shown.strip() == "up"
