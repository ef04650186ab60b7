"""RFC 4787 REQ-11: when there is no room left, new flows are refused, and old ones go on."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.marks import WITH_AND_WITHOUT_OFFLOADS
from tests.e2e.testbed import Family, Testbed
from tests.e2e.tunrouter import running
from tests.e2e.udp import HOME, RULES, exchange, far_hosts

DESCRIPTORS = 256
ROOM = DESCRIPTORS // 4
SENDERS = ROOM + 30
PROHIBITED = {4: "EHOSTUNREACH", 6: "EACCES"}


@WITH_AND_WITHOUT_OFFLOADS
def test_req_11_a_lack_of_descriptors_refuses_new_flows_and_keeps_the_old(
    bed: Testbed, family: Family, tmp_path: Path, offloads: bool
) -> None:
    prefix = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    started = running(bed.router, tmp_path, RULES, offloads=offloads, prefix=prefix)
    with far_hosts(bed), started as router:
        found = exchange(bed.client, family.far(HOME), sends=["aa", "bb"], sockets=SENDERS).found
        for one_round in (found[:SENDERS], found[SENDERS:]):
            assert [one["length"] for one in one_round[:ROOM]] == [1] * ROOM
            assert set(one_round[ROOM:]) == {PROHIBITED[family.version]}
        counters = router.stop().counters
    assert counters["table-full"] == 2 * (SENDERS - ROOM)
