"""The fixtures of the tests about the direct path: a router that programs go by directly, and how
what moves much leaves it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.direct.ends import is_direct
from tests.e2e.direct.second_gateway import second_gateway
from tests.e2e.testbed import FAMILIES, Testbed
from tests.e2e.tunrouter import Tunrouter
from tests.e2e.udp import HOME, OFFICE
from tests.e2e.wait import wait_until


@pytest.fixture(scope="module")
def direct(bed: Testbed, router: Tunrouter, udp_servers: None) -> Tunrouter:
    for family in FAMILIES:
        for first in (HOME, OFFICE):
            reached = partial(is_direct, bed, family, family.far(first + 15))
            wait_until(reached, "the direct path")
    return router


MAY_REFUSE = """
table inet may_refuse {
    chain output {
        type filter hook output priority 0
        ip daddr 203.0.113.1 drop
        ip6 daddr 2001:db8:113::1 drop
    }
}
"""
"""Hosts that no test sends to."""


@pytest.fixture(params=[False, True], ids=["forwarded", "by-sockets"])
def by_sockets(bed: Testbed, request: pytest.FixtureRequest) -> Iterator[bool]:
    """What moves much is forwarded by the kernel; or it leaves by the router's sockets, as the host
    has a rule that refuses something."""
    if request.param:
        bed.router.run("nft", "-f", "-", stdin=MAY_REFUSE)
    yield request.param
    if request.param:
        bed.router.run("nft", "delete", "table", "inet", "may_refuse")


@pytest.fixture
def other_gateway(bed: Testbed) -> Iterator[None]:
    with second_gateway(bed):
        yield
        for family in FAMILIES:
            bed.router.ip(f"route replace default via {family.gateway} dev eth0")
