"""Rules of the host about an outbound's interface have the values that they have on the bare path:
what they count, and what they do to packets, as the other end of the link sees it.

A rule that names no interface sees packets twice; see docs/direct-path.md.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e import ping
from tests.e2e.direct import marking_rules
from tests.e2e.direct.ends import PATHS, SOURCE, connection, datagrams
from tests.e2e.direct.forwarding import transfer
from tests.e2e.direct.marking_rules import LANGUAGES, Language, Seen, Target
from tests.e2e.direct.second_gateway import second_gateway
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import running
from tests.e2e.udp import BARE, BARE_OFFICE, HOME, OFFICE, RULES

PINGS = 5
SIZES = (1, 100, 1000, 1372)
"""Of datagrams; the last of them is the longest that the VPN carries in one packet."""
UPLOAD = bytes(1 << 20)
TARGETS = [
    Target(family, host, SOURCE[host])
    for family in FAMILIES
    for host in (HOME, BARE, OFFICE, BARE_OFFICE)
]


@pytest.fixture(scope="module", autouse=True)
def _surroundings(bed: Testbed, udp_servers: None) -> Iterator[None]:
    with second_gateway(bed), marking_rules.counting_arrivals(bed, TARGETS):
        yield


@pytest.fixture(scope="module", params=LANGUAGES)
def language(
    bed: Testbed, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Language]:
    """Its rules, and then a router: changes of the last one's are not reported."""
    found = LANGUAGES[request.param]
    with (
        marking_rules.laid(bed, found, TARGETS),
        running(bed.router, tmp_path_factory.mktemp("rules"), RULES),
    ):
        yield found


@PATHS
def test_values(bed: Testbed, language: Language, family: Family, through: int, bare: int) -> None:
    """Where the rules are there before the flows."""
    values = []
    for host in (through, bare):
        target = Target(family, host, SOURCE[host])
        seen = Seen(bed, language, target)
        send_everything(bed, target)
        if target.interface == "eth0":  # a VPN cuts segments
            seen.wait_until_all_arrived("tcp")
        for counted in (seen.left("tcp"), seen.arrived("tcp")):
            assert counted[1] > len(UPLOAD)
        assert seen.arrived("others") == (0, 0)
        small = [seen.left(kind) for kind in ("icmp", "udp")]
        assert small == [seen.arrived(kind) for kind in ("icmp", "udp")]
        values.append([*small, seen.left("answers")])
    assert values[0] == values[1]
    assert [packets for packets, _ in values[0]] == [PINGS, len(SIZES), PINGS + len(SIZES)]


def send_everything(bed: Testbed, target: Target) -> None:
    """Pings and datagrams, all of which are answered, and an upload."""
    assert ping.counted(bed.router, target.address, count=PINGS).received == PINGS
    with datagrams(bed, target.family, target.address) as pair:
        for size in SIZES:
            pair.client.send(bytes(size))
            data, sender = pair.server.recvfrom(1 << 16)
            assert len(data) == size
            pair.server.sendto(b"answer", sender)
            assert pair.client.recv(100) == b"answer"
    with connection(bed, target.family, target.address) as pair:
        transfer(pair.client, pair.server, UPLOAD)
