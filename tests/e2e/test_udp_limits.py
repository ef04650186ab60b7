"""RFC 4787 REQ-11: when there is no room left, new flows are refused, and old ones go on."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.marks import WITH_AND_WITHOUT_OFFLOADS
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import running
from tests.e2e.udp import DNS, HOME, RULES, exchange, far_hosts

DESCRIPTORS = 256
ROOM = DESCRIPTORS // 4
SENDERS = ROOM + 30
QUERIES = 400
QUERY = "000101000001000000000000076578616d706c650000010001"
"""DNS (RFC 1035): the address of `example`, in hexadecimal."""
PROHIBITED = {4: "EHOSTUNREACH", 6: "EACCES"}


@WITH_AND_WITHOUT_OFFLOADS
def test_req_11_a_lack_of_descriptors_refuses_new_flows_and_keeps_the_old(
    bed: Testbed, family: Family, tmp_path: Path, offloads: bool, program: tuple[str, ...]
) -> None:
    prefix = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    started = running(
        bed.router, tmp_path, RULES, offloads=offloads, prefix=prefix, program=program
    )
    with far_hosts(bed), started as router:
        found = exchange(bed.client, family.far(HOME), sends=["aa", "bb"], sockets=SENDERS).found
        for one_round in (found[:SENDERS], found[SENDERS:]):
            assert [one["length"] for one in one_round[:ROOM]] == [1] * ROOM
            assert set(one_round[ROOM:]) == {PROHIBITED[family.version]}
        counters = router.stop().counters
    assert counters["table-full"] == 2 * (SENDERS - ROOM)


def test_hundreds_of_queries_each_from_a_new_port_are_answered(
    bed: Testbed, tmp_path: Path
) -> None:
    """As a resolver sends them."""
    with far_hosts(bed), running(bed.router, tmp_path, RULES) as router:
        for family in FAMILIES:
            seen = exchange(bed.client, family.far(HOME), DNS, sends=[QUERY], sockets=QUERIES)
            assert [one["length"] > len(QUERY) // 2 for one in seen.found] == [True] * QUERIES
        assert "table-full" not in router.stop().counters
