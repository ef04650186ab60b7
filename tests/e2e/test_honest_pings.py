"""Pings as on the bare kernel, where the router itself differs from test to test: with and without
offloads, with many pings at once, with another MTU of its outbound."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from tests.e2e import ping, probes
from tests.e2e.marks import WITH_AND_WITHOUT_OFFLOADS
from tests.e2e.test_honest_hop import ANSWERING, HOME, answering_options, one_hop_earlier
from tests.e2e.testbed import FAMILIES, Family, Testbed
from tests.e2e.tunrouter import Tunrouter, relayed, rules, running
from tests.e2e.wait import wait_until

RULES = relayed(rules(*(f"{family.far_net} -> home" for family in FAMILIES)))


@WITH_AND_WITHOUT_OFFLOADS
def test_answers_for_a_host_behind_the_router(bed: Testbed, tmp_path: Path, offloads: bool) -> None:
    """Fragments among them, with and without a virtio-net header."""

    def answers() -> list[str]:
        return [
            ping.answered(bed.client, family.far(ANSWERING), *option).timeless
            for family in FAMILIES
            for option in answering_options(HOME, family)
        ]

    expected = answers()
    with running(bed.router, tmp_path, RULES, offloads=offloads):
        seen = answers()
    assert [one_hop_earlier(text) for text in seen] == expected


def test_two_hundred_pings_at_once(bed: Testbed, tmp_path: Path, family: Family) -> None:
    """Each gets its own answers: a size and pattern of its own detects any other's. All of them go
    by one socket: each flow lasts for a minute, so a socket for each would still be there."""
    with running(bed.router, tmp_path, RULES) as router:
        assert ping.answered(bed.client, family.far(0), count=1).received == 1
        descriptors = router.descriptors()
        pings = [
            ping.start(
                (bed.client, bed.router)[number % 2],
                family.far(number % 50),
                *("-c", "5", "-i", "0.2", "-w", "30", "-s", str(24 + number)),
                *("-p", f"{number + 1:02x}"),
            )
            for number in range(200)
        ]
        try:
            for number, process in enumerate(pings):
                pinged = ping.read(process)
                assert pinged.received == 5, pinged.text
                assert pinged.duplicates == 0, pinged.text
                assert {length for length, _ in pinged.replies} == {32 + number}, pinged.text
                assert "wrong data" not in pinged.text
            assert router.descriptors() <= descriptors, "never a socket for a ping"
        finally:
            for process in pings:
                process.close()
        _assert_all_carried(router)


def _assert_all_carried(router: Tunrouter) -> None:
    counters = router.stop().counters
    assert counters["packets-out"] >= 1000
    assert counters["packets-in"] >= 1000
    assert counters["loop"] == 0


def test_reply_answers_whole_pings_of_any_size(bed: Testbed, tmp_path: Path) -> None:
    hosts = [family.far(ANSWERING) for family in FAMILIES]
    with running(bed.router, tmp_path, rules(*(f"{host} -> reply" for host in hosts))):
        for host, source in product(hosts, (bed.router, bed.client)):
            for size in ("0", "1472", "4000", "65000"):
                pinged = ping.answered(source, host, "-s", size)
                assert {length for length, _ in pinged.replies} == {int(size) + 8}, pinged.text


@pytest.fixture(scope="module")
def far_net_router(bed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Used by the last tests of this file alone."""
    with running(bed.router, tmp_path_factory.mktemp("rules"), RULES):
        yield


@pytest.mark.parametrize("size", [1400, 4000])
@pytest.mark.usefixtures("far_net_router")
def test_an_outbound_whose_mtu_has_shrunk(bed: Testbed, family: Family, size: int) -> None:
    """A packet that may not be fragmented is answered with the new MTU, by the router while the
    routes have 1500 and by the kernel after they are replaced; others are fragmented to it."""
    host = family.far(ANSWERING)

    def has_new_mtu() -> bool:
        ping.unanswered(bed.client, host, "-M", "do", "-s", str(size), count=1)
        return probes.path_mtu(bed.client, host) == 1300

    def passes_in_fragments() -> bool:
        return ping.answered(bed.client, host, "-s", str(size)).received == 3

    _set_home_mtu(bed, 1300)
    try:
        if size < 1500:
            wait_until(has_new_mtu, "an error with the new MTU")
        wait_until(passes_in_fragments, "the sender to have learned the path's MTU")
    finally:
        _set_home_mtu(bed, 1500)
        for namespace in (bed.client, bed.far):
            namespace.run("ip", f"-{family.version}", "route", "flush", "cache")


def _set_home_mtu(bed: Testbed, mtu: int) -> None:
    """At both ends of the link: veth drops what is longer than its receiver's MTU."""
    bed.router.ip(f"link set eth0 mtu {mtu}")
    bed.gw.ip(f"link set home0 mtu {mtu}")
