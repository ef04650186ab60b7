"""The fixture of the tests about the direct path: a router, and programs that send from the
addresses of its outbounds."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from ipaddress import ip_network

import pytest

from tests.e2e.direct.ends import is_direct
from tests.e2e.testbed import FAMILIES, Testbed
from tests.e2e.tunrouter import TUN, Tunrouter
from tests.e2e.udp import HOME, OFFICE, sixteen
from tests.e2e.wait import wait_until

MTU = {HOME: 1500, OFFICE: 1420}


@pytest.fixture(scope="module")
def direct(bed: Testbed, router: Tunrouter, udp_servers: None) -> Iterator[Tunrouter]:
    """By longer routes into the TUN than the router's, which say the source."""
    lines = []
    for family in FAMILIES:
        for first, source in ((HOME, family.eth0), (OFFICE, family.wg0)):
            lines += [
                f"{half} dev {TUN} src {source} mtu {MTU[first]}"
                for half in ip_network(sixteen(family, first)).subnets()
            ]
    bed.router.ip(*(f"route replace {line}" for line in lines))
    for family in FAMILIES:
        for first in (HOME, OFFICE):
            reached = partial(is_direct, bed, family, family.far(first + 15))
            wait_until(reached, "the direct path")
    yield router
    if router.running:
        bed.router.ip(*(f"route del {line}" for line in lines))
