"""traceroute by UDP shows the real hops, with the router as one of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.hops import Hop, hops
from tests.e2e.netns import Namespace
from tests.e2e.testbed import Family, Testbed
from tests.e2e.tunrouter import Tunrouter, running
from tests.e2e.udp import BARE, BARE_OFFICE, HOME, OFFICE, RULES, far_hosts


@pytest.fixture(scope="module", params=[True, False], ids=["offloads", "plain"])
def router(
    request: pytest.FixtureRequest, bed: Testbed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tunrouter]:
    directory = tmp_path_factory.mktemp("rules")
    with (
        far_hosts(bed),
        running(bed.router, directory, RULES, offloads=request.param) as started,
    ):
        yield started


@pytest.mark.parametrize("options", [("-U", "-p", "99"), ()], ids=["-U", "default"])
@pytest.mark.parametrize(
    ("host", "through", "bare"),
    [("client", HOME, BARE), ("router", HOME, BARE), ("router", OFFICE, BARE_OFFICE)],
    ids=["client-direct", "router-direct", "router-vpn"],
)
def test_the_real_hops(
    bed: Testbed,
    router: Tunrouter,
    family: Family,
    host: str,
    through: int,
    bare: int,
    options: tuple[str, ...],
) -> None:
    asker: Namespace = getattr(bed, host)
    # One probe at a time: a burst is more than a host answers with errors at once.
    asked = "traceroute", "-n", "-N1", "-q1", "-w20", *options
    kernel = hops(asker, family.far(bare), *asked)
    # Where no interface has its address, IPv6 answers from the interface's own.
    own = kernel[-1].address == family.far(bare)
    last = kernel[-1]._replace(address=family.far(through)) if own else kernel[-1]
    at = 1 if host == "client" else 0
    first = Hop(family.tun_peer, is_router=True, code=0)
    expected = [*kernel[:at], first, *kernel[at:-1], last]
    assert hops(asker, family.far(through), *asked) == expected
