"""Routes are added before others are removed: while an address is captured, before and after a
change, at every moment one of the router's routes covers it.

The kernel itself reports the order of the changes (`ip monitor route`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
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

Routes = set[tuple[str, str]]
"""Prefix, and what tells routes of one prefix apart: source, metric, MTU. IPv6 has at most one."""


@contextmanager
def _in_order(bed: Testbed) -> Iterator[None]:
    """The block leaves no address uncovered that is captured before and after it, and removes at
    least one route to such an address."""
    before = _present(bed)
    monitor = bed.router.start("ip", "-o", "monitor", "route")
    try:
        wait_until(lambda: _marked(bed, monitor), "the monitor", detail=monitor.report)
        yield
        mark = monitor.stdout.count(MARKER)
        wait_until(
            lambda: _marked(bed, monitor) and monitor.stdout.count(MARKER) > mark,
            "the last changes",
            detail=monitor.report,
        )
        after = _present(bed)
        probes = _probes(before | after)
        stay = {each for each in probes if _covered(each, before) and _covered(each, after)}
        removed, present = 0, set(before)
        for gone, prefix, words in CHANGE.findall(monitor.stdout):
            route = _prefix(prefix), _kind(words)
            if not gone:
                if ":" in prefix:
                    present = {each for each in present if each[0] != route[0]}
                present.add(route)
                continue
            present.discard(route)
            removed += any(_covered(each, {route}) for each in stay)
            assert all(_covered(each, present) for each in stay), (prefix, monitor.stdout)
        assert present == after, monitor.report()
        assert removed > 0, monitor.report()
    finally:
        monitor.close()


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
    at = ip_address(address)
    return any(at in ip_network(prefix) for prefix, _ in routes)


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
