"""Which path packets of this machine's programs take: directly wherever nothing of the host sees a
difference, and as told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import ping
from tests.e2e.capture import Capture
from tests.e2e.test_route_sources import source
from tests.e2e.testbed import FAMILIES, V4, Family, Testbed
from tests.e2e.tunrouter import PROGRAM, TUN, Tunrouter, relayed, rules, running
from tests.e2e.wait import wait_until

HOME, OFFICE = 9, 40
SPLIT = rules(
    *(f"{family.far_net} -> home" for family in FAMILIES),
    *(f"{family.office_net} -> office" for family in FAMILIES),
)
CONTAINERS = """
table ip tr_host {
    chain postrouting {
        type nat hook postrouting priority 100
        ip saddr 172.17.0.0/16 oifname != "docker0" masquerade
    }
}
"""
COUNTS = """
table inet tr_host {
    chain output {
        type filter hook output priority 0
        oifname "eth0" counter
    }
}
"""
TRANSLATES = """
table inet tr_host {
    chain postrouting {
        type nat hook postrouting priority 100
        oifname "eth0" ip daddr 198.51.100.0/24 snat ip to 192.0.2.200
        oifname "eth0" ip6 daddr 2001:db8:100::/64 snat ip6 to 2001:db8:2::200
    }
}
"""
TRANSLATED = {4: "192.0.2.200", 6: "2001:db8:2::200"}


@contextmanager
def laid(bed: Testbed, text: str) -> Iterator[None]:
    """Rules of the host, for the length of a with block."""
    family = text.split()[1]
    bed.router.run("nft", "-f", "-", stdin=text)
    try:
        yield
    finally:
        bed.router.run("nft", "delete", "table", family, "tr_host")


def policy(bed: Testbed, name: str) -> dict[str, Any]:
    answer = json.loads(bed.router.run(PROGRAM, "status", "--json").stdout)
    found: dict[str, Any] = answer["policies"][name]
    return found


def wait_for_source(bed: Testbed, router: Tunrouter, family: Family, wanted: str) -> None:
    wait_until(
        lambda: source(bed.router, family, family.far(HOME)) == wanted,
        f"programs to send from {wanted}",
        detail=lambda: router.log,
    )


@pytest.fixture
def router(bed: Testbed, tmp_path: Path) -> Iterator[Tunrouter]:
    with running(bed.router, tmp_path, SPLIT) as started:
        yield started


def test_directly_where_nothing_forbids_it(bed: Testbed, router: Tunrouter) -> None:
    with laid(bed, CONTAINERS):
        for family in FAMILIES:
            wait_for_source(bed, router, family, family.eth0)
            assert ping.answered(bed.router, family.far(HOME), count=1).received == 1
        for name in ("home", "office"):
            assert policy(bed, name)["path"] == "direct"
            assert policy(bed, name)["why_relayed"] is None


def test_relayed_as_long_as_a_rule_counts_what_leaves(bed: Testbed, router: Tunrouter) -> None:
    """A rule about one interface leaves the other as it is."""
    with laid(bed, COUNTS):
        for family in FAMILIES:
            wait_for_source(bed, router, family, family.tun)
            assert ping.answered(bed.router, family.far(HOME), count=1).received == 1
            assert source(bed.router, family, family.office(OFFICE)) == family.wg0
        assert policy(bed, "home")["path"] == "relayed"
        assert "counts what leaves" in policy(bed, "home")["why_relayed"]
        assert policy(bed, "office")["path"] == "direct"
    for family in FAMILIES:
        wait_for_source(bed, router, family, family.eth0)
    assert policy(bed, "home")["path"] == "direct"


def test_a_translation_on_the_way_out_applies(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    """As it does on the bare path, where there is no router."""
    address = TRANSLATED[family.version]
    length = 24 if family.version == 4 else 64
    bed.router.ip(f"addr add {address}/{length} dev eth0" + " nodad" * (family.version == 6))
    try:
        with laid(bed, TRANSLATES):
            wait_until(lambda: policy(bed, "home")["path"] == "relayed", "the relayed path")
            wait_for_source(bed, router, family, family.tun)
            with Capture(bed.far) as far:
                assert ping.answered(bed.router, family.far(HOME), count=1).received == 1
                assert far.arrivals(family.far(HOME)) == {("home0", address)}
    finally:
        bed.router.ip(f"addr del {address}/{length} dev eth0")


def test_what_is_bound_to_the_tun_is_relayed(
    bed: Testbed, router: Tunrouter, family: Family
) -> None:
    bound = ping.answered(bed.router, family.far(HOME), "-I", TUN)
    assert bound.received == 3
    assert ping.answered(bed.router, family.far(HOME)).received == 3


def test_relayed_as_the_policy_says(bed: Testbed, tmp_path: Path, family: Family) -> None:
    with running(bed.router, tmp_path, relayed(SPLIT)) as router:
        assert source(bed.router, family, family.far(HOME)) == family.tun
        assert ping.answered(bed.router, family.far(HOME), count=1).received == 1
        assert policy(bed, "home")["why_relayed"] == "path: relay"
        assert router.reload(SPLIT).startswith("reloaded")
        wait_for_source(bed, router, family, family.eth0)


def test_explain_names_the_path(bed: Testbed, tmp_path: Path) -> None:
    for text, path in ((SPLIT, "direct"), (relayed(SPLIT), "relayed")):
        with running(bed.router, tmp_path, text) as router:
            command = (PROGRAM, "explain", V4.far(HOME), "-c", str(router.rules_file), "--json")
            assert json.loads(bed.router.run(*command).stdout)["path"] == path
