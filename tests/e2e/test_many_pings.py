"""Many pings at once: each gets its own answers, all of them, once, and no other's."""

from __future__ import annotations

import pytest

from tests.e2e import ping
from tests.e2e.netns import Namespace
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import rules

PINGS = 20
EACH = 20
HOME, VPN, REPLY = 1, 2, 3
SAME_ID = "4242"

RULES = rules(
    *(f"{family.far(HOME)} -> home" for family in FAMILIES),
    *(f"{family.far(VPN)} -> office" for family in FAMILIES),
    *(f"{family.far(REPLY)} -> reply" for family in FAMILIES),
)

pytestmark = [pytest.mark.rules(RULES), pytest.mark.usefixtures("router")]


def _options(number: int) -> list[str]:
    """A size and a pattern of its own for each ping: ping itself reports data that is not its."""
    size, pattern = 24 + 8 * number, f"{number + 1:02x}"
    return ["-c", str(EACH), "-i", "0.02", "-w", "20", "-s", str(size), "-p", pattern]


def _assert_own_answers(pinged: ping.Pinged, number: int) -> None:
    assert pinged.received == EACH, pinged.text
    assert pinged.duplicates == 0, pinged.text
    assert "wrong data" not in pinged.text, pinged.text
    lengths = {length for length, _ in pinged.replies}
    assert lengths == {24 + 8 * number + 8}, pinged.text
    sequences = [sequence for _, sequence in pinged.replies]
    assert len(set(sequences)) == len(sequences), pinged.text


def _ping_all(pingers: list[Namespace], address: str, *options: str) -> None:
    started = [
        ping.start(pinger, address, *_options(number), *options)
        for number, pinger in enumerate(pingers)
    ]
    try:
        for number, process in enumerate(started):
            _assert_own_answers(ping.read(process), number)
    finally:
        for process in started:
            process.close()


@pytest.mark.parametrize("host", [HOME, VPN, REPLY], ids=["home", "vpn", "reply"])
def test_twenty_pings_of_one_host(bed: Testbed, family: Family, host: int) -> None:
    _ping_all([bed.client] * PINGS, family.far(host))


def test_twenty_pings_of_the_router_itself(bed: Testbed, family: Family) -> None:
    """The pings' own raw sockets see what the router's outbound sockets receive."""
    _ping_all([bed.router] * PINGS, family.far(HOME))


def test_the_same_echo_id_from_two_hosts(bed: Testbed, family: Family) -> None:
    _ping_all([bed.client, bed.router], family.far(HOME), "-e", SAME_ID)
