"""Rules for every policy, and real pings in both families."""

from __future__ import annotations

import pytest

from tests.e2e import ping
from tests.e2e.capture import Capture
from tests.e2e.netns import Namespace
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import Tunrouter, rules

HOME, VPN, REPLY, DROP, REJECT = 1, 2, 3, 4, 5

RULES = rules(
    *(
        f"{address} -> {policy}"
        for family in FAMILIES
        for address, policy in (
            (family.far(HOME), "home"),
            (family.far(VPN), "office"),
            (family.office_net, "office"),
            (family.far(REPLY), "reply"),
            (family.far(DROP), "drop"),
            (family.far(REJECT), "reject"),
        )
    )
)
pytestmark = pytest.mark.rules(RULES)


@pytest.fixture(params=["client", "router"])
def pinger(request: pytest.FixtureRequest, bed: Testbed, router: Tunrouter) -> Namespace:
    """A LAN host behind the router, and the router's own programs."""
    found: Namespace = getattr(bed, request.param)
    return found


def test_direct_leaves_by_home(bed: Testbed, pinger: Namespace, family: Family) -> None:
    with Capture(bed.far) as far:
        pinged = ping.answered(pinger, family.far(HOME))
        assert (pinged.received, pinged.duplicates) == (3, 0), pinged.text
        assert far.arrivals(family.far(HOME)) == {("home0", family.eth0)}


def test_vpn_leaves_by_the_tunnel(bed: Testbed, pinger: Namespace, family: Family) -> None:
    """Also IPv6, although wg0 has no default route of its own."""
    with Capture(bed.far) as far:
        for address in (family.far(VPN), family.office(1)):
            pinged = ping.answered(pinger, address)
            assert (pinged.received, pinged.duplicates) == (3, 0), pinged.text
            assert far.arrivals(address) == {("vpn0", family.wg0)}


def test_reply_answers_and_sends_nothing(bed: Testbed, pinger: Namespace, family: Family) -> None:
    with Capture(bed.far) as far:
        pinged = ping.answered(pinger, family.far(REPLY), "-s", "1000", "-p", "5a")
        assert (pinged.received, pinged.duplicates) == (3, 0), pinged.text
        assert {length for length, _ in pinged.replies} == {1008}
        assert "wrong data" not in pinged.text
        assert far.about(family.far(REPLY)) == []


def test_drop_is_silence(bed: Testbed, pinger: Namespace, family: Family) -> None:
    with Capture(bed.far) as far:
        pinged = ping.unanswered(pinger, family.far(DROP))
        assert pinged.received == 0, pinged.text
        assert "From " not in pinged.text, "silence means no error either"
        assert far.about(family.far(DROP)) == []


def test_reject_sends_prohibited(bed: Testbed, pinger: Namespace, family: Family) -> None:
    with Capture(bed.far) as far:
        pinged = ping.refused(pinger, family.far(REJECT))
        assert (pinged.received, pinged.prohibited) == (0, 3), pinged.text
        assert far.about(family.far(REJECT)) == []
