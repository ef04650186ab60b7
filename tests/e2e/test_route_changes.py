"""Routes are added before others are removed: while an address is captured, before and after a
change, at every moment one of the router's routes covers it.

The kernel itself reports the order of the changes (`ip monitor route`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from ipaddress import ip_address, ip_network
from pathlib import Path

from tests.e2e.coexistence import SECOND, full_tunnel
from tests.e2e.processes import Process
from tests.e2e.test_check import OUR_PROTOCOL
from tests.e2e.testbed import FAMILIES, V4, Testbed
from tests.e2e.tunrouter import HEAD, TUN, rules, running
from tests.e2e.wait import wait_until

VPN_GATEWAY = "203.0.113.1"
OTHER_ENDPOINT = "203.0.113.3"
MARKER = "203.0.113.250"
CHANGE = re.compile(rf"^(Deleted )?(\S+) dev {TUN} proto {OUR_PROTOCOL} (.*)$", re.MULTILINE)
KIND = re.compile(r"(?:src|metric|mtu) \S+")

Route = tuple[str, str]
"""Prefix, and what tells routes of one prefix apart: source, metric, MTU. IPv6 has at most one."""
Routes = set[Route]


@contextmanager
def _in_order(bed: Testbed) -> Iterator[None]:
    """The block leaves no address uncovered that is captured before and after it, and removes at
    least one route to such an address."""
    before = _present(bed)
    monitor = bed.router.start("ip", "-o", "monitor", "route")
    try:
        wait_until(lambda: _marked(bed, monitor), "the monitor", detail=monitor.report)
        yield
        changes = _all_changes(bed, monitor, before)
        after = changes[-1][1]
        stay = {
            each
            for each in _probes(before | after)
            if _covered(each, before) and _covered(each, after)
        }
        removed = 0
        for gone, present in changes:
            removed += gone is not None and any(_covered(each, {gone}) for each in stay)
            assert all(_covered(each, present) for each in stay), (gone, monitor.stdout)
        assert removed > 0, monitor.report()
    finally:
        monitor.close()


def _all_changes(
    bed: Testbed, monitor: Process, before: Routes
) -> list[tuple[Route | None, Routes]]:
    """What was removed, if anything, and what was there then, change by change: waits until what
    was reported leads to the routes that are there, as the router may follow several changes."""
    changes: list[tuple[Route | None, Routes]] = []

    def are_all() -> bool:
        mark, after = monitor.stdout.count(MARKER), _present(bed)
        if not _marked(bed, monitor) or monitor.stdout.count(MARKER) <= mark:
            return False
        changes[:] = _changes(monitor.stdout, before)
        return changes[-1][1] == after

    wait_until(are_all, "the last changes", detail=monitor.report)
    return changes


def _changes(reported: str, before: Routes) -> Iterator[tuple[Route | None, Routes]]:
    """See _all_changes; first what was there before."""
    present = set(before)
    yield None, set(present)
    for gone, prefix, words in CHANGE.findall(reported):
        route = _prefix(prefix), _kind(words)
        if gone:
            present.discard(route)
        else:
            if ":" in prefix:
                present = {each for each in present if each[0] != route[0]}
            present.add(route)
        yield route if gone else None, set(present)


def _marked(bed: Testbed, monitor: Process) -> bool:
    """Adds and removes a route that is not the router's; whether the monitor has reported one."""
    bed.router.ip(f"route add {MARKER} dev eth0", f"route del {MARKER} dev eth0")
    return MARKER in monitor.stdout


def _present(bed: Testbed) -> Routes:
    found: Routes = set()
    for family in FAMILIES:
        command = ("ip", f"-{family.version}", "route", "show", "dev", TUN, "proto", OUR_PROTOCOL)
        for line in bed.router.run(*command).stdout.splitlines():
            prefix, _, words = line.partition(" ")
            found.add((_prefix(prefix), _kind(words)))
    return found


def _kind(words: str) -> str:
    return " ".join(KIND.findall(words))


def _prefix(text: str) -> str:
    return str(ip_network(text))


def _probes(routes: Routes) -> set[str]:
    """The first and the last address of each: coverage changes at no other."""
    networks = [ip_network(prefix) for prefix, _ in routes]
    return {str(end) for each in networks for end in (each[0], each[-1])}


def _covered(address: str, routes: Routes) -> bool:
    return any(_is_in(address, prefix) for prefix, _ in routes)


@cache
def _is_in(address: str, prefix: str) -> bool:
    return ip_address(address) in ip_network(prefix)


def test_by_a_reload(bed: Testbed, tmp_path: Path) -> None:
    """To narrower routes, to wider ones, to the default, to another MTU, and back."""
    whole = rules(*(f"{family.office_net} -> office" for family in FAMILIES))
    hole = rules(
        *(f"{family.office(9)} -> bypass" for family in FAMILIES),
        *(f"{family.office_net} -> office" for family in FAMILIES),
    )
    by_home = whole.replace("policy: office", "policy: home")
    with running(bed.router, tmp_path, whole) as router:
        for text in (hole, whole, by_home, rules(default="home"), whole):
            with _in_order(bed):
                assert router.reload(text).startswith("reloaded")


def test_by_a_vpn_that_returns_with_another_endpoint(bed: Testbed, tmp_path: Path) -> None:
    """The hole for the former endpoint closes, and another one opens."""
    head = HEAD.replace("wg0}", f"{SECOND}}}")
    bed.vpn.ip(f"addr add {OTHER_ENDPOINT}/24 dev gw0")
    default = f"route replace default via {VPN_GATEWAY}"
    try:
        with full_tunnel(bed, tmp_path) as tunnel:
            tunnel.up()
            text = rules(head=head, default="office")
            with running(tunnel.within, tmp_path, text) as router, _in_order(bed):
                assert f"{V4.vpn_outside} bypasses the TUN" in router.log
                tunnel.down()
                router.wait_until_down("office")
                tunnel.move(OTHER_ENDPOINT)
                # Some versions of wireguard-go answer from the address of the route, whichever
                # was addressed; then the endpoint would be the former one again.
                bed.vpn.ip(f"{default} src {OTHER_ENDPOINT}")
                tunnel.up()
                wait_until(
                    lambda: f"{OTHER_ENDPOINT} bypasses the TUN" in router.log,
                    "the other endpoint",
                    detail=lambda: router.log,
                )
    finally:
        bed.vpn.ip(default, f"addr del {OTHER_ENDPOINT}/24 dev gw0")
