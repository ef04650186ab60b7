"""What no rule names goes on as if no router were there; and the counts of what did go through."""

from __future__ import annotations

from pathlib import Path

from tests.e2e import ping, probes
from tests.e2e.capture import Capture
from tests.e2e.testbed import FAMILIES, Testbed
from tests.e2e.tunrouter import TUN, rules, running

NAMED, DROPPED, REJECTED, UNNAMED = 1, 2, 3, 9

RULES = rules(
    *(f"{family.far(NAMED)} -> home" for family in FAMILIES),
    *(f"{family.far(DROPPED)} -> drop" for family in FAMILIES),
    *(f"{family.far(REJECTED)} -> reject" for family in FAMILIES),
)


def test_an_unnamed_address_never_enters_the_tun(bed: Testbed, tmp_path: Path) -> None:
    before = [ping.answered(bed.client, family.far(UNNAMED)) for family in FAMILIES]
    with (
        running(bed.router, tmp_path, RULES),
        Capture(bed.far) as far,
        Capture(bed.router, "ip or ip6") as at_router,
    ):
        during = [ping.answered(bed.client, family.far(UNNAMED)) for family in FAMILIES]
        for family in FAMILIES:
            address = family.far(UNNAMED)
            assert far.arrivals(address) == {("home0", family.client)}
            assert [seen for seen in at_router.on(TUN) if address in seen] == []
    assert [each.received for each in before] == [3, 3]
    assert [each.timeless for each in during] == [each.timeless for each in before]


def test_the_summary_counts_each_ping_once(bed: Testbed, tmp_path: Path) -> None:
    with running(bed.router, tmp_path, RULES) as router:
        for family in FAMILIES:
            assert ping.counted(bed.client, family.far(NAMED)).received == 3
            assert ping.unanswered(bed.client, family.far(DROPPED)).received == 0
            assert ping.refused(bed.client, family.far(REJECTED)).prohibited == 3
        counters = router.stop().counters
    assert (counters["packets-out"], counters["packets-in"]) == (6, 6)
    assert (counters["drop"], counters["rejected"]) == (6, 6)
    assert counters["loop"] == 0


def test_the_summary_counts_answers_that_do_not_pass_the_router(
    bed: Testbed, tmp_path: Path
) -> None:
    with running(bed.router, tmp_path, RULES) as router:
        for family in FAMILIES:
            assert ping.counted(bed.router, family.far(NAMED)).received == 3
        counters = router.stop().counters
    assert (counters["packets-out"], counters["packets-in"]) == (6, 6)


def test_the_summary_counts_each_refusal(bed: Testbed, tmp_path: Path) -> None:
    with running(bed.router, tmp_path, RULES) as router:
        for family in FAMILIES:
            assert probes.tcp(bed.client, family.far(REJECTED)) == "ECONNREFUSED"
            assert probes.tcp(bed.client, family.far(NAMED)) == "ECONNREFUSED"
            assert probes.udp(bed.client, family.far(REJECTED)) != "silence"
            assert probes.udp(bed.client, family.far(NAMED)) == "ECONNREFUSED"
        counters = router.stop().counters
    # A closed port of the far host is no refusal of ours: it has answered itself.
    assert (counters["rejected"], counters["connect-failed"]) == (4, 2)
    assert "udp-refused" not in counters
    assert counters["loop"] == 0
