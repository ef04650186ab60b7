"""Link addresses and kinds of links, as the kernel of a namespace has them."""

from __future__ import annotations

import json
import sys

import pytest

from tests.e2e.testbed import Family, Testbed


def found(bed: Testbed, interface: str, address: str) -> str:
    arguments = (sys.executable, "-m", "tests.e2e.neighbours", interface, address)
    return bed.router.run(*arguments).stdout.strip()


def link_address_of(bed: Testbed, interface: str) -> str:
    [link] = json.loads(bed.router.run("ip", "-j", "link", "show", "dev", interface).stdout)
    address: str = link["address"]
    return address


@pytest.mark.parametrize("state", ["permanent", "reachable", "stale", "failed", "incomplete"])
def test_a_neighbour(bed: Testbed, family: Family, state: str) -> None:
    address = f"{family.gateway[:-1]}99"
    bed.router.ip(f"neigh replace {address} lladdr 02:00:00:00:00:99 dev eth0 nud {state}")
    try:
        usable = state not in ("failed", "incomplete")
        link = f"(True, {link_address_of(bed, 'eth0')!r})"
        assert found(bed, "eth0", address) == (
            f"02:00:00:00:00:99 {link}" if usable else f"unknown {link}"
        )
    finally:
        bed.router.ip(f"neigh del {address} dev eth0")


def test_a_neighbour_that_is_not_known(bed: Testbed, family: Family) -> None:
    assert found(bed, "eth0", f"{family.gateway[:-1]}98").startswith("unknown ")


def test_a_tunnel_has_no_link_header(bed: Testbed, family: Family) -> None:
    _, _, link = found(bed, "wg0", family.vpn_wg0).partition(" ")
    assert link.startswith("(False, ")
