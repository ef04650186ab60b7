"""traceroute by UDP shows the real hops, with the router as one of them."""

from __future__ import annotations

import pytest

from tests.e2e.hops import Hop, hops
from tests.e2e.netns import Namespace
from tests.e2e.testbed import Family
from tests.e2e.tunrouter import relayed
from tests.e2e.udp import RULES, SAME_OUTBOUND

pytestmark = [
    pytest.mark.rules(relayed(RULES)),
    pytest.mark.usefixtures("udp_servers"),
]


@pytest.mark.parametrize("options", [("-U", "-p", "99"), ()], ids=["-U", "default"])
@SAME_OUTBOUND
def test_the_real_hops(
    sender: Namespace,
    family: Family,
    host: str,
    through: int,
    bare: int,
    options: tuple[str, ...],
) -> None:
    # One probe at a time: a burst is more than a host answers with errors at once.
    command = "traceroute", "-n", "-N1", "-q1", "-w20", *options
    kernel = hops(sender, family.far(bare), *command)
    # Where no interface has its address, IPv6 answers from the interface's own.
    own = kernel[-1].address == family.far(bare)
    last = kernel[-1]._replace(address=family.far(through)) if own else kernel[-1]
    at = 1 if host == "client" else 0
    first = Hop(family.tun_peer, is_router=True, code=0)
    expected = [*kernel[:at], first, *kernel[at:-1], last]
    assert hops(sender, family.far(through), *command) == expected
