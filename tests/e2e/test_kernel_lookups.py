"""What the kernel decides about default routes, names and sources is what the router uses.

Each test looks at the bare path first: the address that a program has as its source, or the
interface by which a packet arrives, where no router runs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.e2e import ping
from tests.e2e.capture import Capture
from tests.e2e.second_uplink import GATEWAY, OWN, UPLINK, second_uplink
from tests.e2e.status import read_status, state_of
from tests.e2e.testbed import V4, V6, Family, Testbed
from tests.e2e.tunrouter import HEAD, rules, running
from tests.e2e.wait import wait_until

DEFAULT = HEAD.replace("interface: eth0", "interface: default")
HOST = 1


@pytest.fixture(autouse=True)
def _uplink(bed: Testbed) -> Iterator[None]:
    with second_uplink(bed):
        yield


@contextmanager
def _routes(bed: Testbed, family: Family, *commands: str) -> Iterator[None]:
    """In the place of the family's default route."""
    own = f"-{family.version}", "route"
    bed.router.run("ip", *own, "del", "default")
    try:
        for command in commands:
            bed.router.run("ip", f"-{family.version}", *command.split())
        yield
    finally:
        bed.router.run("ip", *own, "flush", "default", check=False)
        bed.router.run("ip", *own, "add", "default", "via", family.gateway)


def _source(bed: Testbed, address: str) -> str:
    """The one that the kernel gives to packets to an address."""
    shown = bed.router.run("ip", "route", "get", address, check=False).stdout.split()
    return shown[shown.index("src") + 1] if "src" in shown else ""


def _goes_as_bare(bed: Testbed, family: Family, tmp_path: Path, own: str) -> None:
    """With the host alone captured, and then with everything captured."""
    address = family.far(HOST)
    wait_until(lambda: _source(bed, address) == own, f"the bare path by {own}")
    assert ping.answered(bed.router, address).received == 3
    host, everything = (
        rules(f"{address} -> home", head=DEFAULT),
        rules(default="home", head=DEFAULT),
    )
    with running(bed.router, tmp_path, host) as router:
        for text in (host, everything):
            assert text == host or router.reload(text).startswith("reloaded")
            for sender in (bed.client, bed.router):
                with Capture(bed.far) as far:
                    assert ping.answered(sender, address).received == 3
                    assert far.arrivals(address) == {("home0", own)}


def test_the_first_hop_is_down(bed: Testbed, family: Family, tmp_path: Path) -> None:
    hops = (
        f"nexthop via {GATEWAY[family.version]} dev {UPLINK} nexthop via {family.gateway} dev eth0"
    )
    with _routes(bed, family, f"route add default {hops}"):
        bed.gw.ip("link set home1 down")
        bed.router.ip(f"link set {UPLINK} down")
        _goes_as_bare(bed, family, tmp_path, family.eth0)


def test_a_link_without_carrier_is_ignored(bed: Testbed, family: Family, tmp_path: Path) -> None:
    ignore = f"ipv{family.version}__conf__{UPLINK}__ignore_routes_with_linkdown"
    bed.router.sysctl(**{ignore: 1})
    with _routes(
        *(bed, family),
        f"route add default via {GATEWAY[family.version]} dev {UPLINK} metric 10",
        f"route add default via {family.gateway} dev eth0 metric 20",
    ):
        bed.gw.ip("link set home1 down")
        _goes_as_bare(bed, family, tmp_path, family.eth0)


@pytest.mark.parametrize("preferred", [1, 2])
def test_the_second_of_two_nexthop_objects(
    bed: Testbed, family: Family, tmp_path: Path, preferred: int
) -> None:
    """Without the attributes of former times (nexthop_compat_mode=0); the metric decides."""
    bed.router.sysctl(ipv4__nexthop_compat_mode=0)
    bed.router.ip(
        f"nexthop add id 1 via {GATEWAY[family.version]} dev {UPLINK}",
        f"nexthop add id 2 via {family.gateway} dev eth0",
    )
    try:
        with _routes(
            *(bed, family),
            f"route add default nhid {preferred} metric 10",
            f"route add default nhid {3 - preferred} metric 20",
        ):
            own = OWN[family.version] if preferred == 1 else family.eth0
            _goes_as_bare(bed, family, tmp_path, own)
    finally:
        bed.router.ip("nexthop flush")
        bed.router.sysctl(ipv4__nexthop_compat_mode=1)


def test_a_nexthop_object_that_is_replaced(bed: Testbed, tmp_path: Path) -> None:
    """The kernel then reports no route as changed (nexthop_compat_mode=0)."""
    bed.router.sysctl(ipv4__nexthop_compat_mode=0)
    bed.router.ip(f"nexthop add id 1 via {V4.gateway} dev eth0")
    try:
        with _routes(bed, V4, "route add default nhid 1"):
            text = rules(f"{V4.far(HOST)} -> home", head=DEFAULT)
            with running(bed.router, tmp_path, text) as router, Capture(bed.far) as far:
                bed.router.ip(f"nexthop replace id 1 via {GATEWAY[4]} dev {UPLINK}")
                router.wait_until_up("home", OWN[4], V6.eth0)
                assert ping.answered(bed.client, V4.far(HOST)).received == 3
                assert far.arrivals(V4.far(HOST)) == {("home0", OWN[4])}
    finally:
        bed.router.ip("nexthop flush")
        bed.router.sysctl(ipv4__nexthop_compat_mode=1)


def test_a_default_route_in_another_table(bed: Testbed, family: Family, tmp_path: Path) -> None:
    own = OWN[family.version]
    rule = f"-{family.version}", "rule"
    with _routes(
        *(bed, family),
        f"route add default via {family.gateway} dev eth0",
        f"route add default via {GATEWAY[family.version]} dev {UPLINK} table 77",
    ):
        bed.router.run("ip", *rule, "add", "pref", "30000", "lookup", "77")
        try:
            assert _source(bed, family.far(HOST)) == own
            text = rules(f"{family.office_net} -> office", default="bypass", head=DEFAULT)
            with running(bed.router, tmp_path, text) as router:
                assert f"up by default (eth0, {UPLINK})" in router.log
        finally:
            bed.router.run("ip", *rule, "del", "pref", "30000")
            bed.router.run("ip", f"-{family.version}", "route", "flush", "table", "77")


def test_a_table_that_is_looked_up_later(bed: Testbed, family: Family, tmp_path: Path) -> None:
    """Its routes do not count, whatever their metric."""
    rule = f"-{family.version}", "rule"
    with _routes(
        *(bed, family),
        f"route add default via {family.gateway} dev eth0 metric 100",
        f"route add default via {GATEWAY[family.version]} dev {UPLINK} metric 10 table 78",
    ):
        bed.router.run("ip", *rule, "add", "pref", "40000", "lookup", "78")
        try:
            _goes_as_bare(bed, family, tmp_path, family.eth0)
        finally:
            bed.router.run("ip", *rule, "del", "pref", "40000")
            bed.router.run("ip", f"-{family.version}", "route", "flush", "table", "78")


@pytest.mark.parametrize("preferred", ["eth0", UPLINK])
def test_ipv6_router_preference(bed: Testbed, tmp_path: Path, preferred: str) -> None:
    """Of two routers that advertise themselves (RFC 4191); the kernel has heard the one that is
    less preferred first."""
    links = {"eth0": ("home0", V6.eth0), UPLINK: ("home1", OWN[6])}
    [other] = links.keys() - {preferred}
    for interface in links:
        bed.router.sysctl(**{f"ipv6__conf__{interface}__accept_ra": 2})
    with _routes(bed, V6):
        for interface, preference in ((other, "low"), (preferred, "high")):
            gateway, _ = links[interface]
            _advertise(bed, gateway, preference)
            wait_until(partial(_has_default_by, bed, interface), f"the router by {interface}")
        _goes_as_bare(bed, V6, tmp_path, links[preferred][1])


def _advertise(bed: Testbed, interface: str, preference: str) -> None:
    module = "tests.e2e.router_advertisement"
    bed.gw.run(sys.executable, "-m", module, interface, preference)


def _has_default_by(bed: Testbed, interface: str) -> bool:
    return interface in bed.router.run("ip", "-6", "route", "show", "default").stdout


NAME = "the-uplink-of-the-house"
BY_NAME = HEAD.replace("interface: eth0", f"interface: {NAME}")
RENAMED = "wan0"
COUNTS = f"""
table inet renamed {{
    chain output {{
        type filter hook output priority 0
        oifname "{RENAMED}" counter
    }}
}}
"""


@contextmanager
def _named(bed: Testbed, interface: str) -> Iterator[None]:
    command = ("link", "property")
    bed.router.run("ip", *command, "add", "dev", interface, "altname", NAME)
    try:
        yield
    finally:
        bed.router.run("ip", *command, "del", "dev", interface, "altname", NAME)


def test_an_alternative_name(bed: Testbed, family: Family, tmp_path: Path) -> None:
    address = family.far(HOST)
    with (
        _named(bed, "eth0"),
        running(bed.router, tmp_path, rules(f"{address} -> home", head=BY_NAME)),
        Capture(bed.far) as far,
    ):
        assert ping.answered(bed.client, address).received == 3
        assert far.arrivals(address) == {("home0", family.eth0)}


def test_an_alternative_name_that_comes_and_goes(bed: Testbed, tmp_path: Path) -> None:
    """While the router runs; the second time another interface has it."""
    address = V4.far(HOST)
    bed.router.ip(f"route add default via {GATEWAY[4]} dev {UPLINK} metric 5000")
    with running(bed.router, tmp_path, rules(f"{address} -> home", head=BY_NAME)) as router:
        for interface, own, own_v6 in (("eth0", V4.eth0, V6.eth0), (UPLINK, OWN[4], OWN[6])):
            _wait_for_state(bed, "down")
            with _named(bed, interface):
                router.wait_until_up("home", own, own_v6)
                with Capture(bed.far) as far:
                    assert ping.answered(bed.client, address).received == 3
                    assert far.arrivals(address) == {("home0", own)}
        _wait_for_state(bed, "down")


def test_an_interface_that_is_renamed(bed: Testbed, tmp_path: Path) -> None:
    """It is the same by its alternative name, and other rules of the host are about it."""

    def wait_for_path(wanted: str) -> None:
        def has_it() -> bool:
            home = read_status(bed.router)["policies"]["home"]
            return (home["state"], home["path"]) == ("up", wanted)

        wait_until(has_it, f"the {wanted} path")
        assert ping.answered(bed.router, V4.far(HOST)).received == 3

    text = rules(f"{V4.far(HOST)} -> home", head=BY_NAME)
    bed.router.run("nft", "-f", "-", stdin=COUNTS)
    try:
        with _named(bed, "eth0"), running(bed.router, tmp_path, text):
            wait_for_path("direct")
            bed.router.ip(f"link set eth0 name {RENAMED}")
            try:
                wait_for_path("relayed")
            finally:
                bed.router.ip(f"link set {RENAMED} name eth0")
            wait_for_path("direct")
    finally:
        bed.router.run("nft", "delete", "table", "inet", "renamed")


def _wait_for_state(bed: Testbed, wanted: str) -> None:
    wait_until(lambda: state_of(bed.router, "home") == wanted, f"the policy to be {wanted}")
