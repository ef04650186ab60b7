"""The source address of programs at captured hosts: that of the bare path.

What a connected socket is bound to, before the start and while the router runs.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Final

import pytest

from router.platform.linux.reconcile import install_routes
from router.policy.routes.route import Label, Route
from tests.e2e import ping
from tests.e2e.capture import Capture
from tests.e2e.netns import Namespace, connect, unique_prefix
from tests.e2e.sockets import within
from tests.e2e.split import HOME, LINES, RULES, VPN
from tests.e2e.testbed import FAMILIES, V4, V6, Family, Testbed
from tests.e2e.tunrouter import HEAD, TUN, rules, running
from tests.e2e.wait import wait_until

pytestmark = pytest.mark.usefixtures("reopened_tunnel")

NEAR: Final = {4: "10.66.0.9", 6: "fd66::9"}
"""Hosts in a second network on eth0."""
OWN: Final = {4: "10.66.0.2/24", 6: "fd66::2/64"}
SITE: Final = "fd99::9"
"""Behind the default route, and of the same kind as the second network (RFC 6724, rule 6)."""
COMPLAINT: Final = "another program"
MORE_POLICIES: Final = f"""\
  proxy: {{type: socks5, server: "{V4.gateway}:1080"}}
  forced: {{type: direct, interface: eth0, path: relay}}
"""


def source(namespace: Namespace, family: Family, address: str) -> str:
    """What a program is bound to that connects."""

    def ask() -> str:
        kind = socket.AF_INET if family.version == 4 else socket.AF_INET6
        with socket.socket(kind, socket.SOCK_DGRAM) as sock:
            sock.connect((address, 9))
            return str(sock.getsockname()[0])

    return within(namespace, ask)


def wait_for_source(bed: Testbed, family: Family, address: str, wanted: str) -> None:
    wait_until(
        lambda: source(bed.router, family, address) == wanted, f"{wanted} as source to {address}"
    )


@contextmanager
def second_network(bed: Testbed) -> Iterator[None]:
    bed.router.ip(f"addr add {OWN[4]} dev eth0", f"addr add {OWN[6]} dev eth0 nodad")
    try:
        yield
    finally:
        bed.router.ip(*(f"addr flush to {own} dev eth0" for own in OWN.values()))


def routes(bed: Testbed, family: Family) -> list[dict[str, Any]]:
    shown = bed.router.run("ip", "-j", f"-{family.version}", "route", "show", "dev", TUN).stdout
    return [each for each in json.loads(shown) if each.get("protocol") == "116"]


def test_sources_are_those_of_the_bare_path(bed: Testbed, tmp_path: Path) -> None:
    near = [f"{address} -> home" for address in (*NEAR.values(), SITE)]
    hosts = [(each, host) for each in FAMILIES for host in (each.far(HOME), NEAR[each.version])]
    hosts.append((V6, SITE))

    def sources() -> list[str]:
        return [source(bed.router, *each) for each in hosts]

    with second_network(bed):
        bare = sources()
        assert len(set(bare)) == 4
        with running(bed.router, tmp_path, rules(*LINES, *near)):
            assert sources() == bare
            for family in FAMILIES:
                assert source(bed.router, family, family.far(VPN)) == family.wg0
        assert sources() == bare


def test_what_no_outbound_alone_carries_has_no_source(bed: Testbed, tmp_path: Path) -> None:
    """What is answered or refused here, sent to a proxy, always relayed, or sent by one outbound or
    another; where they have a policy of their own, others have the source of theirs."""
    head = HEAD + MORE_POLICIES
    hosts = dict(enumerate(("reply", "drop", "reject", "proxy", "forced", "home"), 1))
    ports = "rules:\n" + "".join(
        f'  - {{cidr: "{family.far(7)}", protocol: tcp, port: 80, policy: office}}\n'
        for family in FAMILIES
    )
    text = rules(
        *(f"{family.far(host)} -> {name}" for family in FAMILIES for host, name in hosts.items()),
        *(f"{family.far(7)} -> home" for family in FAMILIES),
        head=head,
    ).replace("rules:\n", ports)
    with running(bed.router, tmp_path, text):
        for family in FAMILIES:
            sources = [source(bed.router, family, family.far(host)) for host in range(1, 8)]
            assert sources == [*[family.tun] * 5, family.eth0, family.tun]


def test_check_plans_what_a_run_installs(bed: Testbed, tmp_path: Path) -> None:
    program = str(Path(sys.executable).with_name("tunrouter"))
    with running(bed.router, tmp_path, RULES):
        installed = {
            ip_network(each["dst"]): each["prefsrc"]
            for family in FAMILIES
            for each in routes(bed, family)
            if "prefsrc" in each
        }
    file = next(tmp_path.glob("*.yaml"))
    shown = bed.router.run(program, "check", "-c", str(file), "--format", "json", check=False)
    planned = {
        ip_network(each["prefix"]): each.get("source")
        for each in json.loads(shown.stdout)["plan"]["routes"]
    }
    assert planned == installed
    assert {each.version for each in installed} == {4, 6}


def test_a_policy_that_goes_down_and_up(bed: Testbed, tmp_path: Path) -> None:
    def wait_for_sources(by: str) -> None:
        for family in FAMILIES:
            wait_for_source(bed, family, family.far(VPN), getattr(family, by))

    with running(bed.router, tmp_path, RULES) as router:
        wait_for_sources("wg0")
        bed.close_tunnel()
        router.wait_until_down("office")
        wait_for_sources("tun")
        bed.open_tunnel()
        wait_for_sources("wg0")
        assert COMPLAINT not in router.log


@pytest.mark.parametrize("runs_already", [False, True], ids=["before", "meanwhile"])
def test_attributes_of_the_outbounds_route_are_kept(
    bed: Testbed, family: Family, tmp_path: Path, runs_already: bool
) -> None:
    change = ("ip", f"-{family.version}", "route", "change", "default", "via", family.gateway)
    attributes = ("advmss", "1000", "initcwnd", "20", "rto_min", "50ms", "congctl", "reno")
    if not runs_already:
        bed.router.run(*change, *attributes)
    try:
        with running(bed.router, tmp_path, RULES):
            if runs_already:
                bed.router.run(*change, *attributes)
            metrics = wait_until(
                lambda: _metrics(bed, family, family.eth0), "the attributes in the route"
            )
            assert (metrics["advmss"], metrics["initcwnd"], metrics["rto_min"]) == (1000, 20, 50)
            assert metrics["congestion"] == "reno"
    finally:
        bed.router.run(*change)


def _metrics(bed: Testbed, family: Family, source: str) -> dict[str, Any]:
    """Those of the route with a source, that are not of every route."""
    [own] = [each for each in routes(bed, family) if each.get("prefsrc") == source]
    [metrics] = own["metrics"]
    return metrics if "initcwnd" in metrics else {}


def test_another_address_is_preferred(bed: Testbed, tmp_path: Path) -> None:
    """As privacy addresses (RFC 8981) are replaced."""
    new = "2001:db8:2::77"
    with running(bed.router, tmp_path, RULES) as router:
        wait_for_source(bed, V6, V6.far(HOME), V6.eth0)
        try:
            bed.router.ip(
                f"addr add {new}/64 dev eth0 nodad",
                f"addr change {V6.eth0}/64 dev eth0 preferred_lft 0",
            )
            wait_for_source(bed, V6, V6.far(HOME), new)
        finally:
            bed.router.ip(
                f"addr change {V6.eth0}/64 dev eth0 preferred_lft forever valid_lft forever",
                f"addr del {new}/64 dev eth0",
            )
        wait_for_source(bed, V6, V6.far(HOME), V6.eth0)
        assert COMPLAINT not in router.log


def test_an_address_that_goes_lets_no_packet_past(bed: Testbed, tmp_path: Path) -> None:
    """The only one of the VPN, again and again, faster than the router follows."""
    text = rules(*(f"{each.office_net} -> office" for each in FAMILIES))
    with running(bed.router, tmp_path, text) as router:
        for family in FAMILIES:
            _lose_the_address_and_get_it_back(bed, family)
        assert COMPLAINT not in router.log


def _lose_the_address_and_get_it_back(bed: Testbed, family: Family) -> None:
    length = 24 if family.version == 4 else 64
    address = f"{family.wg0}/{length} dev wg0"
    again = f"addr add {address}" + (" nodad" if family is V6 else "")
    host = family.office(1)
    wait_for_source(bed, family, host, family.wg0)
    with (
        Capture(bed.router, f"dst net {family.office_net}") as seen,
        closing(ping.start(bed.router, host, "-i", "0.002")),
    ):
        wait_until(lambda: bool(seen.on(TUN)), "packets in the TUN")
        for _ in range(5):
            bed.router.ip(f"addr del {address}", again)
        bed.router.ip(f"addr del {address}")
        wait_for_source(bed, family, host, family.tun)
        bed.router.ip(again)
        wait_for_source(bed, family, host, family.wg0)
        assert not seen.on("eth0")


def test_a_source_of_a_second_network_goes_and_returns(bed: Testbed, tmp_path: Path) -> None:
    lines = (f"{host} -> home" for host in NEAR.values())
    with second_network(bed), running(bed.router, tmp_path, rules(*lines)) as router:
        for family in FAMILIES:
            host, own = NEAR[family.version], OWN[family.version]
            wait_for_source(bed, family, host, own.partition("/")[0])
            bed.router.ip(f"addr del {own} dev eth0")
            wait_for_source(bed, family, host, family.eth0)
            bed.router.ip(f"addr add {own} dev eth0" + (" nodad" if family is V6 else ""))
            wait_for_source(bed, family, host, own.partition("/")[0])
        assert COMPLAINT not in router.log


@pytest.mark.parametrize("version", [4, 6])
def test_a_source_that_has_just_gone_is_no_failure(version: int) -> None:
    """More routes than one batch has, each refused: all stand without it."""
    width = 32 if version == 4 else 128
    base = (10 << 24) if version == 4 else 0xFD << 120
    gone = Label(1400, base + (1 << 16) + 7)
    wanted = [Route(version, base + number, width, gone) for number in range(700)]
    host, other = (Namespace(f"{unique_prefix()}-{name}") for name in ("host", "other"))
    for each in (host, other):
        each.create()
    try:
        connect(host, "e0", other, "e0")
        host.ip("link set e0 up")
        index = within(host, lambda: socket.if_nametoindex("e0"))
        within(host, lambda: install_routes(index, wanted))
        shown = host.run("ip", "-j", f"-{version}", "route", "show", "proto", "116").stdout
        assert len(json.loads(shown)) == 700
        assert not [each for each in json.loads(shown) if "prefsrc" in each]
    finally:
        for each in (host, other):
            each.delete()
