"""The routes of the router in a model of xnu's table, beside those of other programs."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.platform.base.errors import PlatformError
from router.platform.darwin.entries import describe, parse_entry
from router.platform.darwin.route_messages import RouteMessage
from router.platform.darwin.route_plan import plan_routes
from router.platform.darwin.routes import DarwinRoutes
from router.platform.darwin.routing_socket import Target
from router.platform.darwin.state import DarwinInterfaces, read_interfaces, read_routes
from router.platform.privileged.undoable import Entry
from router.policy.routes.route import Route
from tests.unit.darwin.fake_kernel import (
    BLACKHOLE,
    LLINFO,
    REJECT,
    UP,
    WASCLONED,
    Key,
)
from tests.unit.darwin.macs import (
    ADDRESSES,
    DIRECTORY,
    EN0,
    EN1,
    GATEWAY,
    LABEL,
    LINK,
    UTUN,
    VPN,
    Mac,
    key,
    route,
)
from tests.unit.examples import examples


@pytest.fixture
def mac() -> Mac:
    return Mac()


OWN: Final = key("192.168.7.1/32", is_host=True)


def test_routes_are_added_with_their_mtu_and_nothing_else_changes(mac: Mac) -> None:
    mac.routes().begin_adding([route("198.51.100.0/24"), route("2001:db8:9::/48", 1280)])()
    assert mac.added() == {key("198.51.100.0/24"), key("2001:db8:9::/48"), OWN}
    assert mac.kernel.table[key("198.51.100.0/24")].mtu == 1400
    assert mac.kernel.table[key("2001:db8:9::/48")].mtu == 1280
    assert mac.device("198.51.100.9") == mac.device("2001:db8:9::1") == UTUN
    assert mac.device("198.51.100.9", EN0) == EN0, "the unscoped default uses it"
    assert mac.device("198.51.100.9", EN1) == EN1, "it has a scoped default"
    assert mac.device("198.51.100.9", VPN) is None, "until it gets one"


def test_a_prefix_of_another_program_becomes_two_halves(mac: Mac) -> None:
    mac.routes().begin_adding([route("10.0.0.0/8")])()
    assert mac.added() == {key("10.0.0.0/9"), key("10.128.0.0/9"), OWN}
    assert mac.device("10.1.2.3") == mac.device("10.200.2.3") == UTUN
    assert mac.before.items() <= mac.kernel.table.items()


def test_a_half_that_is_taken_is_a_more_specific_route(
    mac: Mac, caplog: pytest.LogCaptureFixture
) -> None:
    mac.kernel.add(key("10.128.0.0/9"), VPN)
    mac.routes().begin_adding([route("10.0.0.0/8")])()
    assert caplog.text == "", "nothing was refused"
    assert mac.added() - {key("10.128.0.0/9")} == {key("10.0.0.0/9"), OWN}
    assert mac.device("10.200.2.3") == VPN


@pytest.mark.parametrize("order", [1, -1])
def test_halves_leave_our_own_more_specific_routes_alone(mac: Mac, order: int) -> None:
    mac.routes().begin_adding([route("10.0.0.0/8"), route("10.0.0.0/9", 1280)][::order])()
    assert mac.kernel.table[key("10.0.0.0/9")].mtu == 1280
    assert mac.kernel.table[key("10.128.0.0/9")].mtu == 1400


def test_an_address_of_another_program_becomes_a_host_route(mac: Mac) -> None:
    mac.kernel.add(key("203.0.113.9/32"), VPN)
    mac.routes().begin_adding([route("203.0.113.9/32")])()
    assert key("203.0.113.9/32", is_host=True) in mac.added()
    assert mac.device("203.0.113.9") == UTUN


def test_an_address_with_a_host_route_of_another_program_is_reported(
    mac: Mac, caplog: pytest.LogCaptureFixture
) -> None:
    mac.kernel.add(key("203.0.113.9/32", is_host=True), VPN)
    routes = mac.routes()
    routes.begin_adding([route("203.0.113.9/32")])()
    assert "203.0.113.9/32 (another program has a host route)" in caplog.text
    assert mac.device("203.0.113.9") == VPN
    assert routes.reconcile([route("203.0.113.9/32")]).failed != []


def test_a_clone_or_a_neighbour_is_no_route_of_another_program(mac: Mac) -> None:
    mac.kernel.add(key("198.51.100.7/32", is_host=True), EN0, flags=WASCLONED | LLINFO)
    mac.routes().begin_adding([route("198.51.100.7/32")])()
    assert key("198.51.100.7/32") in mac.added()


def test_a_route_that_another_program_adds_meanwhile_is_met_too(mac: Mac) -> None:
    """Between the dump and the addition."""
    dump = mac.kernel.sysctl
    late = [key("198.51.100.0/24")]

    def and_then(name: tuple[int, ...]) -> bytes:
        found = dump(name)
        if name[3:] == (2, 7, 0) and late:
            mac.kernel.add(late.pop(), VPN)
        return found

    mac.kernel.sysctl = and_then  # type: ignore[method-assign, assignment]
    mac.routes().begin_adding([route("198.51.100.0/24")])()
    assert mac.device("198.51.100.1") == mac.device("198.51.100.200") == UTUN
    assert mac.kernel.table[key("198.51.100.0/24")].index == VPN


def test_reconciling_restores_removes_and_changes_by_new_routes(mac: Mac) -> None:
    routes = mac.routes()
    routes.begin_adding(
        [route("198.51.100.0/24"), route("203.0.113.0/24"), route("192.0.2.0/24")]
    )()
    del mac.kernel.table[key("198.51.100.0/24")]
    wanted = [route("198.51.100.0/24"), route("203.0.113.0/24", 1280)]
    result = routes.reconcile(wanted)
    assert sorted(result.restored) == ["198.51.100.0/24", "203.0.113.0/24"]
    assert mac.added() == {key("198.51.100.0/24"), key("203.0.113.0/24"), OWN}
    assert mac.kernel.table[key("203.0.113.0/24")].mtu == 1280
    written = len(mac.kernel.written)
    assert routes.reconcile(wanted) == ([], [], [])
    assert len(mac.kernel.written) == written, "nothing is written without a reason"
    kinds = {message[3] for message in mac.kernel.written}
    assert kinds == {1, 2}, "RTM_CHANGE might change another route"


def test_halves_become_the_prefix_again_when_the_other_program_ends(mac: Mac) -> None:
    routes = mac.routes()
    routes.begin_adding([route("10.0.0.0/8")])()
    mac.kernel.remove_link(VPN)
    routes.reconcile([route("10.0.0.0/8")])
    assert mac.kernel.table[key("10.0.0.0/8")].index == UTUN
    assert key("10.0.0.0/9") not in mac.kernel.table


def test_what_stays_captured_has_a_route_at_every_moment(mac: Mac) -> None:
    routes = mac.routes()
    routes.begin_adding([route("10.0.0.0/8")])()
    mac.kernel.remove_link(VPN)
    write, devices = mac.kernel.write, []

    def and_look(message: bytes) -> None:
        write(message)
        devices.append((mac.device("10.1.2.3"), mac.device("10.200.2.3")))

    mac.kernel.write = and_look  # type: ignore[method-assign]
    routes.reconcile([route("10.0.0.0/8")])
    assert devices == [(UTUN, UTUN)] * 3


def test_a_utun_that_is_gone_ends_the_run(mac: Mac) -> None:
    routes = mac.routes()
    mac.kernel.remove_link(UTUN)
    with pytest.raises(PlatformError, match="utun11 is gone"):
        routes.reconcile([])
    found: list[object] = []
    routes.request_reconcile([], found.append)
    assert isinstance(found[0], PlatformError)


def test_a_socket_that_root_has_not_opened_is_refused(mac: Mac) -> None:
    mac.kernel.is_root = False
    with pytest.raises(PlatformError, match="Operation not permitted"):
        mac.routes().begin_adding([route("198.51.100.0/24")])()


def test_a_tunnel_gets_the_scoped_defaults_that_it_lacks(mac: Mac) -> None:
    routes = mac.routes()
    vpn = read_interfaces(mac.kernel)["utun3"]
    assert not vpn.asks_neighbours
    assert routes.prepare_interface(vpn)
    assert mac.added() == {key("0.0.0.0/0", scope=VPN), key("::/0", scope=VPN)}
    routes.begin_adding([route("10.0.0.0/8"), route("fd08::/32")])()
    assert mac.device("10.1.2.3", VPN) == mac.device("fd08::9", VPN) == VPN
    assert mac.device("10.1.2.3") == mac.device("fd08::9") == UTUN
    assert mac.device("192.0.2.1") == EN0, "the primary default is as it was"
    assert not routes.prepare_interface(vpn), "a second time there is nothing to do"
    words = [describe(entry) for entry in mac.recorded]
    assert words[0] == "the scoped default route of IPv4 by utun3"
    mac.end()
    without = {each: entry for each, entry in mac.before.items() if entry.index != UTUN}
    assert mac.kernel.table == without


def test_a_change_is_recorded_before_it_is_made(mac: Mac) -> None:
    def refuse(_: Entry) -> None:
        assert not mac.added()
        raise OSError(errno.ENOSPC, "no space")

    routes = DarwinRoutes(mac.kernel, LINK, 1500, ADDRESSES, refuse)
    with pytest.raises(PlatformError, match="no scoped default route: no space: add it"):
        routes.prepare_interface(read_interfaces(mac.kernel)["utun3"])
    assert not mac.added()


def test_interfaces_that_need_no_scoped_default_get_none(mac: Mac) -> None:
    routes = mac.routes()
    interfaces = read_interfaces(mac.kernel)
    assert not routes.prepare_interface(interfaces["en0"])
    assert not routes.prepare_interface(interfaces["en1"]), "a gateway cannot be guessed"
    mac.kernel.add(key("0.0.0.0/0", scope=VPN), VPN)
    mac.kernel.add(key("::/0", scope=VPN), VPN)
    assert not routes.prepare_interface(interfaces["utun3"])
    assert mac.recorded == []


def test_a_tunnel_with_the_primary_default_needs_no_scoped_one(mac: Mac) -> None:
    take_primary_default(mac)
    assert not mac.routes().prepare_interface(read_interfaces(mac.kernel)["utun3"])
    assert mac.device("192.0.2.1", VPN) == VPN


def take_primary_default(mac: Mac) -> None:
    """A VPN for everything: the default of en0 is a scoped one then, as configd leaves it."""
    for version in (4, 6):
        unscoped = Key(version, 0, 0)
        of_en0 = mac.kernel.table.pop(unscoped)
        mac.kernel.add(unscoped, VPN)
        mac.kernel.add(unscoped._replace(scope=EN0), EN0, gateway=of_en0.gateway)


@pytest.mark.parametrize("change", ["gateway", "interface", "another has its name", "gone"])
def test_what_another_program_has_changed_is_not_undone(mac: Mac, change: str) -> None:
    mac.routes().prepare_interface(read_interfaces(mac.kernel)["utun3"])
    scoped = key("0.0.0.0/0", scope=VPN)
    if change == "gateway":
        mac.kernel.table[scoped] = replace(mac.kernel.table[scoped], gateway=GATEWAY)
    elif change != "gone":
        mac.kernel.links[VPN] = replace(mac.kernel.links[VPN], name="utun4")
        if change == "another has its name":
            mac.kernel.links[9] = replace(mac.kernel.links[VPN], name="utun3", index=9)
    else:
        mac.kernel.remove_link(VPN)
    before = mac.kernel.table.get(scoped)
    mac.end()
    assert mac.kernel.table.get(scoped) == before


@pytest.mark.parametrize(
    "line",
    [
        b"[1]",
        b"nonsense",
        b"[" * 100_000,
        b'{"undo": "scoped_default", "version": 5, "name": "utun3", "index": 8}',
        b'{"undo": "scoped_default", "version": true, "name": "utun3", "index": 8}',
        b'{"undo": "scoped_default", "version": 4, "name": "a/b", "index": 8}',
        b'{"undo": "scoped_default", "version": 4, "name": "utun3", "index": 0}',
        b'{"undo": "route", "version": 4, "name": "utun3", "index": 8}',
        b'{"undo": "scoped_default", "version": 4, "name": "utun3"}',
    ],
)
def test_a_record_that_no_run_has_written_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError, match="not a record"):
        parse_entry(line, DIRECTORY)


def test_the_primary_default_is_the_unscoped_one(mac: Mac) -> None:
    interfaces = DarwinInterfaces(mac.kernel)
    present = interfaces.all()
    assert interfaces.holding_default(4, present, "utun11") == "en0"
    del mac.kernel.table[key("0.0.0.0/0")]
    assert interfaces.holding_default(4, present, "utun11") is None, "scoped ones do not count"
    mac.kernel.add(key("0.0.0.0/0"), VPN)
    assert interfaces.holding_default(4, present, "utun11") == "utun3", "without a gateway too"
    assert interfaces.holding_default(4, present, "utun3") is None


@pytest.mark.parametrize("flag", [REJECT, BLACKHOLE, -UP])
def test_a_default_that_leads_nowhere_is_none(mac: Mac, flag: int) -> None:
    default = mac.kernel.table[key("0.0.0.0/0")]
    default.flags += flag
    interfaces = DarwinInterfaces(mac.kernel)
    assert interfaces.holding_default(4, interfaces.all(), "utun11") is None


def test_a_scoped_route_by_our_utun_is_of_another_program(mac: Mac) -> None:
    """The router adds none there."""
    foreign = key("0.0.0.0/0", scope=UTUN)
    mac.kernel.add(foreign, UTUN)
    mac.routes().begin_adding([route("10.0.0.0/8")])()
    assert foreign in mac.kernel.table


@pytest.mark.parametrize(
    ("flags", "up", "asks_neighbours"),
    [
        (0x8863, True, True),
        (0x8863 & ~0x1, False, True),  # IFF_UP
        (0x8863 & ~0x40, False, True),  # IFF_RUNNING
        (0x8863 | 0x80, True, False),  # IFF_NOARP
        (0x8863 | 0x8, True, False),  # IFF_LOOPBACK
        (0x8863 | 0x10, True, False),  # IFF_POINTOPOINT
    ],
)
def test_flags_of_an_interface(mac: Mac, flags: int, up: bool, asks_neighbours: bool) -> None:
    """net/if.h:121-137"""
    mac.kernel.links[EN0].flags = flags
    found = read_interfaces(mac.kernel)["en0"]
    assert (found.up, found.asks_neighbours) == (up, asks_neighbours)


def test_interfaces_as_they_are(mac: Mac) -> None:
    found = read_interfaces(mac.kernel)
    assert list(found) == ["lo0", "en0", "en1", "utun3", "utun11"]
    assert found["en0"].mtu == 1500
    assert found["en0"].up
    assert found["en0"].asks_neighbours
    assert [str(each) for each in found["en0"].addresses] == ["192.168.1.7/24", "2001:db8:1::7/64"]
    routes = read_routes(mac.kernel, 4)
    assert all(isinstance(each, RouteMessage) for each in routes)
    assert len(routes) == sum(each.version == 4 for each in mac.before)


Prefix = tuple[int, int, int]
"""Version, first address, length."""
WIDTH: Final = {4: 32, 6: 128}
SCOPES: Final = {4: (EN0, EN1, VPN), 6: (EN0, VPN)}
"""The interfaces that have addresses of a family."""
MET: Final = {4: 10 << 24, 6: 0xFD08 << 112}
"""Where the VPN has a split route, and many routes meet."""


def prefix(version: int, address: int, length: int) -> Prefix:
    shift = WIDTH[version] - length
    return version, address >> shift << shift, length


def anywhere(version: int) -> st.SearchStrategy[Prefix]:
    """Of IPv6, global unicast."""
    if version == 4:
        lengths = [0, 1, 2, 7, 8, 9, 24, 31, 32]
        return st.builds(
            prefix, st.just(4), st.integers(0, (1 << 32) - 1), st.sampled_from(lengths)
        )
    addresses = st.integers(1 << 125, (1 << 126) - 1)
    lengths = [0, 1, 3, 7, 8, 9, 48, 64, 127, 128]
    return st.builds(prefix, st.just(6), addresses, st.sampled_from(lengths))


def near(version: int) -> st.SearchStrategy[Prefix]:
    lengths = [8, 24, 25, 30, 31, 32] if version == 4 else [16, 32, 64, 120, 121, 126, 127, 128]
    addresses = st.integers(MET[version], MET[version] + 255)
    return st.builds(prefix, st.just(version), addresses, st.sampled_from(lengths))


class Case(NamedTuple):
    """is_full: the VPN has the primary default, and en0 a scoped one. wanted: to be captured.
    foreign: routes of other programs, as host routes or not, by which interface. probes: addresses
    near."""

    version: int
    is_full: bool
    wanted: list[Prefix]
    foreign: list[tuple[Prefix, bool, int]]
    probes: list[int]


def cases(version: int) -> st.SearchStrategy[Case]:
    each = anywhere(version) | near(version)
    return st.builds(
        Case,
        st.just(version),
        st.booleans(),
        st.lists(each, max_size=6, unique=True),
        st.lists(st.tuples(each, st.booleans(), st.sampled_from(SCOPES[version]))),
        st.lists(st.integers(0, 255), max_size=8),
    )


@settings(max_examples=examples(400), deadline=None)
@given(case=st.sampled_from([4, 6]).flatmap(cases))
def test_what_is_captured_goes_to_the_utun_and_every_outbound_has_its_way(case: Case) -> None:
    version, is_full, wanted, foreign, probes = case
    mac = Mac()
    if is_full:
        take_primary_default(mac)
    for taken, as_host, index in foreign:
        each = Key(*taken, as_host and taken[2] == WIDTH[version])
        if each not in mac.kernel.table:
            mac.kernel.add(each, index)
    mac.before = dict(mac.kernel.table)
    routes = mac.routes()
    routes.prepare_interface(read_interfaces(mac.kernel)["utun3"])
    routes.begin_adding([Route(*each, LABEL) for each in wanted])()
    assert mac.before.items() <= mac.kernel.table.items(), "nobody else's route has changed"
    addresses = [MET[version] | each for each in probes]
    for _, first, length in wanted:
        addresses += [first, first | ((1 << (WIDTH[version] - length)) - 1)]
    for address in addresses:
        for scope in SCOPES[version]:
            found = mac.kernel.lookup(version, address, scope)
            assert found is not None
            assert found.index == scope
        found = mac.kernel.lookup(version, address)
        assert found is not None
        assert (found.index == UTUN) is is_captured(mac.before, case, address)
    assert routes.reconcile([Route(*each, LABEL) for each in wanted]).restored == []
    mac.end()
    assert mac.kernel.table == {
        each: entry for each, entry in mac.before.items() if entry.index != UTUN
    }


def is_captured(before: Mapping[Key, object], case: Case, address: int) -> bool:
    """What is wanted, unless another program's route is more specific; the obvious way."""
    version, wanted = case.version, case.wanted

    def holds(first: int, length: int) -> bool:
        shift = WIDTH[version] - length
        return address >> shift == first >> shift

    best = max((length for _, first, length in wanted if holds(first, length)), default=-1)
    own = next(int(each.ip) for each in ADDRESSES if each.version == version)
    if address in (own, own + 1):
        return True  # the utun's own
    others = [
        each for each in before if each.version == version and not each.scope and holds(*each[1:3])
    ]
    if any(each.is_host for each in others):
        return False
    return best >= 0 and all(each.length <= best for each in others)


@example(
    wanted=[(4, 10 << 24, 24)],
    taken=[((4, 10 << 24, 24), False), ((4, 10 << 24, 25), False)],
)
@given(
    wanted=st.lists(near(4) | near(6), max_size=4, unique=True),
    taken=st.lists(st.tuples(near(4) | near(6), st.booleans()), max_size=12),
)
def test_a_plan_meets_no_other_route_and_captures_nothing_else(
    wanted: list[Prefix], taken: list[tuple[Prefix, bool]]
) -> None:
    others = {Target(*each, is_host and each[2] == WIDTH[each[0]]) for each, is_host in taken}
    plan = plan_routes([Route(*each, LABEL) for each in wanted], others)
    assert not plan.routes.keys() & others
    assert len(plan.routes) <= 2 * len(wanted)
    for each in plan.routes:
        assert any(
            prefix(each.version, each.first, length) == (version, first, length)
            for version, first, length in wanted
            if length <= each.length
        )


def test_the_model_finds_a_host_route_before_a_network_route_of_32_bits(mac: Mac) -> None:
    mac.kernel.add(key("203.0.113.9/32"), VPN)
    mac.kernel.add(key("203.0.113.9/32", is_host=True), EN0)
    assert mac.device("203.0.113.9") == EN0
