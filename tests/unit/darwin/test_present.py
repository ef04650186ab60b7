"""The network of a Mac as plain data: interfaces, routes, ways and resolvers."""

from __future__ import annotations

import errno
import os
import select
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.platform.darwin import resolvers
from router.platform.darwin.absent import NoChanges, NoCounters, NoPacketFilter
from router.platform.darwin.machine import scoped_defaults, utun_control
from router.platform.darwin.present import present_network
from router.platform.darwin.resolvers import parse_resolvers, read_resolvers, servers_of
from router.platform.darwin.state import read_interfaces
from router.platform.darwin.ways import DarwinWays
from router.policy.host_rules.model import DirectOutput
from router.policy.kernel import Way
from router.policy.machine.facts import Resolver, TunDevice
from router.policy.network import RouteKind
from router.wire import ip
from tests.unit.darwin.fake_kernel import refuse
from tests.unit.darwin.fake_mac import FakeMac
from tests.unit.darwin.macbook import ABSENT, SCUTIL, macbook
from tests.unit.darwin.macs import EN0, LINK, UTUN, VPN, Mac, key, network, route
from tests.unit.examples import examples

OUTPUT = SCUTIL.read_text(encoding="utf-8")
HOME = (4, int(ip_address("192.168.1.1")))


def packed(text: str) -> bytes:
    return ip_address(text).packed


def test_interfaces_routes_and_holders() -> None:
    found = macbook()
    assert list(found.interfaces) == ["lo0", "en0", "en1", "utun3"]
    assert found.default_holders == {4: "en0", 6: "en0"}
    assert found.readable
    assert found.unread == ()
    assert found.host_rules.obstacles == {
        "en0": "macOS has no direct path",
        "utun3": "macOS has no direct path",
    }
    routes = {each[:3]: each for each in found.routes}
    default = routes[network("0.0.0.0/0")]
    assert (default.interface, default.gateway) == ("en0", HOME[1])
    assert routes[network("10.0.0.0/8")].gateway is None
    assert len([each for each in found.routes if each.version == 4]) == 4, "no scoped one"
    assert not any(each.ours for each in found.routes)


def test_what_a_flag_makes_of_a_route() -> None:
    mac = FakeMac()
    for text, flag in (("203.0.113.1/32", 0x8), ("203.0.113.2/32", 0x1000)):
        mac.kernel.add(key(text), EN0, flags=flag)
    mac.kernel.add(key("192.168.1.7/32", is_host=True), 1, flags=0x200000)
    found = {each[:3]: each.kind for each in present_network(mac.kernel, ABSENT).routes}
    assert found[network("203.0.113.1/32")] is RouteKind.UNREACHABLE
    assert found[network("203.0.113.2/32")] is RouteKind.BLACKHOLE
    assert found[network("192.168.1.7/32")] is RouteKind.LOCAL


def test_what_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    mac = FakeMac()

    def refused(_: Any) -> bytes:
        raise refuse(errno.EPERM)

    monkeypatch.setattr(mac.kernel, "sysctl", refused)
    found = present_network(mac.kernel, ABSENT, resolvers=lambda _: [])
    assert not found.readable
    assert found.unread == (
        f"the interfaces and routes of this system ({os.strerror(errno.EPERM)})",
    )
    unseen: list[str] = []
    assert scoped_defaults(mac.kernel, unseen) == {}
    assert len(unseen) == 1


def test_resolvers_of_both_sections() -> None:
    found = parse_resolvers(OUTPUT)
    office = ((4, int(ip_address("10.0.0.53"))),)
    lan = (6, int(ip_address("2001:db8:1::1")))
    link_local = (6, int(ip_address("fe80::1")))
    assert found == [
        Resolver((HOME, lan), "", "en0"),
        Resolver(office, "corp.example", "utun3"),
        Resolver((HOME, link_local), "", "en0", is_scoped=True),
        Resolver(office, "", "utun3", is_scoped=True),
    ]
    assert servers_of(found) == (HOME, lan, *office)
    assert macbook().dns_servers == servers_of(found)


@settings(max_examples=examples(200), deadline=None)
@given(st.text(alphabet="resolv #1:nameserver[0] if_index192.168.\n ()Scoped,flags", max_size=200))
def test_lines_of_any_form(text: str) -> None:
    for each in parse_resolvers(text):
        assert each.servers


def test_a_program_that_is_absent_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    unread: list[str] = []
    monkeypatch.setattr(resolvers, "PROGRAM", ("/nonexistent/scutil", "--dns"))
    assert read_resolvers(unread) == []
    monkeypatch.setattr(resolvers, "PROGRAM", ("/bin/sh", "-c", "exit 3"))
    assert read_resolvers(unread) == []
    assert [each.partition(" (")[0] for each in unread] == ["the DNS servers of this system"] * 2
    monkeypatch.setattr(resolvers, "PROGRAM", ("/bin/cat", str(SCUTIL)))
    assert len(read_resolvers(unread)) == 4
    assert len(unread) == 2


# Ways


def ways_of(mac: Mac, *, without: str = "utun11") -> DarwinWays:
    return DarwinWays(mac.kernel, read_interfaces(mac.kernel).values(), {without})


def test_ways_without_the_utun() -> None:
    mac = Mac()
    mac.routes().begin_adding([route("10.0.0.0/8"), route("198.51.100.0/24")])()
    ways = ways_of(mac)
    address = int(ip_address("198.51.100.1"))
    home = Way("en0", packed("192.168.1.7"), packed("192.168.1.1"))
    assert ways.way(4, address) == home
    assert ways.way(4, int(ip_address("10.1.2.3"))) == Way("utun3", packed("10.8.0.2"))
    assert ways.way_by(4, address, "en1", None) == Way(
        "en1", packed("192.168.2.7"), packed("192.168.1.1")
    )
    assert ways.way_by(4, address, "utun3", None) is None, "it has no default route"
    assert ways.way_by(4, address, "utun11", None) is None
    assert ways.way_by(4, address, "en0", packed("192.168.1.8")) == home._replace(
        source=packed("192.168.1.8")
    )
    assert (ways.default_holder(4), ways.default_holder(6)) == ("en0", "en0")
    ways.close()


def test_no_way() -> None:
    mac = Mac()
    del mac.kernel.table[key("0.0.0.0/0")]
    mac.kernel.add(key("203.0.113.0/24"), EN0, flags=0x8)
    ways = ways_of(mac)
    assert ways.way(4, int(ip_address("198.51.100.1"))) is None
    assert ways.way(4, int(ip_address("203.0.113.1"))) is None, "it is refused"
    assert ways.default_holder(4) is None


@settings(max_examples=examples(100), deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 0xFFFFFFFF), st.integers(1, 32), st.sampled_from([EN0, VPN])),
        max_size=6,
    ),
    st.integers(0, 0xFFFFFFFF),
    st.booleans(),
)
def test_bound_ways_are_those_of_the_kernel(
    others: list[tuple[int, int, int]], address: int, near: bool
) -> None:
    """Of the kernel without the utun: the lookup that the fake makes line by line."""
    mac = Mac()
    mac.kernel.remove_link(UTUN)
    for first, length, index in others:
        at = key("0.0.0.0/0")._replace(first=first >> (32 - length) << (32 - length), length=length)
        if at not in mac.kernel.table:
            mac.kernel.add(at, index)
    if near and others:
        address = others[0][0]
    ways = ways_of(mac, without=LINK.name)
    for name, index in (("en0", EN0), ("utun3", VPN)):
        found = mac.kernel.lookup(4, address, index)
        way = ways.way_by(4, address, name, None)
        assert (found is not None and found.index == index) == (way is not None)
        assert way is None or way.interface == name


# What selftest reads


def test_the_control_of_utuns(monkeypatch: pytest.MonkeyPatch) -> None:
    mac = FakeMac()
    assert utun_control(mac) is TunDevice.USABLE
    assert mac.opened[0].is_closed

    def absent(*_: Any) -> bytes:
        raise refuse(errno.ENOENT)

    monkeypatch.setattr(mac, "ioctl", absent)
    assert utun_control(mac) is TunDevice.ABSENT
    monkeypatch.setattr(mac, "control_socket", absent)
    assert utun_control(mac) is TunDevice.FAILED


def test_default_routes_for_bound_sockets() -> None:
    mac = FakeMac()
    found = scoped_defaults(mac.kernel, [])
    assert found == {"en0": {4, 6}, "en1": {4}}
    mac.kernel.add(key("::/0", scope=VPN), VPN)
    assert scoped_defaults(mac.kernel, [])["utun3"] == {6}


# What there is none of


def test_what_there_is_none_of() -> None:
    changes, counters, filters = NoChanges(), NoCounters(), NoPacketFilter()
    assert not select.select([changes], [], [], 0)[0]
    changes.drain()
    changes.close()
    counters.count([], [])
    assert counters.read(0) == (0, 0)
    rules: list[Any] = []
    filters.request_host_rules([DirectOutput("en0", 4, [])], rules.append)
    assert rules[0].obstacles == {"en0": "macOS has no direct path"}
    filters.watch_host_rules().close()
    unreported: list[object] = []
    filters.request_has_unreported(unreported.append)
    assert unreported == [False]
    found: list[object] = []
    filters.request_of(ip.parse(bytes([0x45, 0, 0, 20]) + bytes(16)), found.append)
    assert found == [None]
