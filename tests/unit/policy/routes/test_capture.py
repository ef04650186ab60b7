"""The capture set and the planned routes, against a linear scan and a slow longest-prefix match."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netaddr import IPAddress, IPNetwork, IPRange, IPSet

from router.config.model import Config
from router.config.ranges import split_range
from router.policy.match.table import RuleSet
from router.policy.network import SourceRange
from router.policy.prefixes import format_prefix, unpack
from router.policy.routes.aggregate import LabelledPrefix, LabelledRange, fewest_routes
from router.policy.routes.capture import captured_ranges, is_captured, plan_routes
from router.policy.routes.route import Label, Route
from tests.unit.examples import examples
from tests.unit.policy import oracle
from tests.unit.policy.configs import MTUS, WIDTHS, config, configs, rule


def plan(rules: Config, mtus: dict[str, int] = MTUS) -> list[Route]:
    return plan_routes(rules, RuleSet.build(rules), mtus.__getitem__)


def texts(routes: list[Route]) -> list[str]:
    return [f"{format_prefix(r.version, r.first, r.length)} mtu {r.mtu}" for r in routes]


def longest_match(routes: list[LabelledPrefix], address: int, width: int) -> int | None:
    matching = [
        (length, label)
        for first, length, label in routes
        if first <= address < first + (1 << (width - length))
    ]
    return max(matching)[1] if matching else None


def expected_mtu(rules: Config, version: int, address: int) -> int | None:
    names = {
        oracle.policy(rules, oracle.decide(rules, version, address, flow))
        for flow in oracle.flows(rules)
    }
    return None if names == {"bypass"} else min(MTUS[name] for name in names)


@settings(max_examples=examples(80))
@given(configs())
def test_routes_give_each_captured_address_its_mtu_and_no_other_a_route(rules: Config) -> None:
    rule_set = RuleSet.build(rules)
    routes = plan(rules)
    assert routes == sorted(routes)
    assert all(route.length for route in routes)
    for version in (4, 6):
        own = [(first, length, mtu) for v, first, length, (mtu, _, _) in routes if v == version]
        captured = captured_ranges(rules, rule_set, version)
        for address in oracle.boundaries(rules, version):
            mtu = expected_mtu(rules, version, address)
            assert longest_match(own, address, WIDTHS[version]) == mtu
            assert is_captured(rules, rule_set, version, address) == (mtu is not None)
            inside = any(first <= address <= last for first, last in captured)
            assert inside == (mtu is not None)


@settings(max_examples=examples(100))
@given(configs())
def test_with_one_mtu_the_routes_are_the_capture_set(rules: Config) -> None:
    rule_set = RuleSet.build(rules)
    routes = plan_routes(rules, rule_set, lambda _: 1400)
    for version in (4, 6):
        captured = [
            prefix
            for first, last in captured_ranges(rules, rule_set, version)
            for prefix in split_range(first, last, WIDTHS[version])
        ]
        if captured == [(0, 0)]:
            captured = [(0, 1), (1 << (WIDTHS[version] - 1), 1)]
        assert [(route.first, route.length) for route in routes if route.version == version] == (
            captured
        )


RANGES = (
    SourceRange(0, 0x0A00FFFF, 1),
    SourceRange(0x0A010000, 0x0A01FFFF, 2, ((8, b"x"),)),
    SourceRange(0xC0000000, (1 << 32) - 1, 1),
)


@settings(max_examples=examples(100))
@given(configs())
def test_routes_give_each_captured_address_the_source_of_its_policies(rules: Config) -> None:
    """The oracle looks each address up in the ranges, where one policy alone can apply."""

    def sources_of(version: int, names: Sequence[str]) -> Sequence[SourceRange]:
        return RANGES if version == 4 and set(names) <= {"home", "drop"} else ()

    routes = plan_routes(rules, RuleSet.build(rules), MTUS.__getitem__, (), sources_of)
    assert routes == sorted(routes, key=lambda route: route[:3])
    numbers = {label: number for number, label in enumerate({each.label for each in routes})}
    own = [(first, length, numbers[label]) for v, first, length, label in routes if v == 4]
    edges = {edge for each in RANGES for edge in (each.first, each.last)}
    for address in {*oracle.boundaries(rules, 4), *edges}:
        names = {
            oracle.policy(rules, oracle.decide(rules, 4, address, flow))
            for flow in oracle.flows(rules)
        }
        number = longest_match(own, address, 32)
        mtu = expected_mtu(rules, 4, address)
        if mtu is None:
            assert number is None
            continue
        single = names <= {"home", "drop"}
        found = [each for each in RANGES if single and each.first <= address <= each.last]
        assert number == numbers[Label(mtu, *found[0][2:]) if found else Label(mtu)]


def address_set(prefixes: Iterable[tuple[int, int]], version: int) -> IPSet:
    return IPSet(IPNetwork(prefix, version=version) for prefix in prefixes)


def halves(networks: Iterable[IPNetwork]) -> list[str]:
    """As text; in place of everything its two halves, as a route for everything is not planned."""
    found = []
    for network in networks:
        parts = network.subnet(1) if not network.prefixlen else [network]
        found += [str(part) for part in parts]
    return found


def captured_set(rules: Config, version: int) -> IPSet:
    """From the last rule to the first, each adds its addresses to the set or removes them."""
    captured = address_set([(0, 0)] if rules.default != "bypass" else [], version)
    for item in reversed(rules.rules):
        own = address_set(map(unpack, item.packed(version)), version)
        captured = captured - own if item.policy == "bypass" else captured | own
    return captured


@settings(max_examples=examples(80))
@given(configs(conditional=False))
def test_what_is_captured_is_what_the_algebra_of_sets_gives(rules: Config) -> None:
    """netaddr's IPSet as the oracle, of the capture set and of the routes for one MTU."""
    rule_set = RuleSet.build(rules)
    routes = plan_routes(rules, rule_set, lambda _: 1400)
    for version in (4, 6):
        expected = captured_set(rules, version)
        assert captured_ranges(rules, rule_set, version) == [
            (each.first, each.last) for each in expected.iter_ipranges()
        ]
        own = [format_prefix(*route[:3]) for route in routes if route.version == version]
        assert own == halves(expected.iter_cidrs())


labelled = st.lists(
    st.tuples(st.integers(1, 40), st.sampled_from([None, 1, 1, 2, 3])), min_size=1, max_size=12
)


@settings(max_examples=examples(80))
@given(st.sampled_from([4, 6]), st.integers(0, 64), labelled)
def test_routes_cover_what_has_a_label_and_nothing_else(
    version: int, first: int, lengths: list[tuple[int, int | None]]
) -> None:
    """netaddr's IPSet as the oracle: labels apart, the routes are the addresses that have one; and
    the addresses that a longer route leaves to a label are those that have it."""
    ranges: list[LabelledRange] = []
    for length, label in lengths:
        ranges.append((first, first + length - 1, label))
        first += length
    expected: dict[int, IPSet] = {}
    for begin, end, label in ranges:
        if label is not None:
            own = IPSet(IPRange(IPAddress(begin, version), IPAddress(end, version)))
            expected[label] = expected.get(label, IPSet()) | own
    found: dict[int, IPSet] = {}
    for start, length, label in fewest_routes(ranges, WIDTHS[version]):
        own = address_set([(start, length)], version)
        found = {other: held - own for other, held in found.items()}
        found[label] = found.get(label, IPSet()) | own
    assert {label: held for label, held in found.items() if held} == expected


def slow_fewest(labels: list[int | None], width: int) -> int:
    """The smallest number of routes, by trying sets of prefixes in order of their size."""
    every = [
        (first, length, label)
        for length in range(1, width + 1)
        for first in range(0, 1 << width, 1 << (width - length))
        for label in {label for label in labels if label is not None}
    ]
    useful = [
        (first, length, label)
        for first, length, label in every
        if None not in labels[first : first + (1 << (width - length))]
    ]
    for count in range(len(labels) + 1):
        for routes in combinations(useful, count):
            found = [longest_match(list(routes), address, width) for address in range(1 << width)]
            if found == labels:
                return count
    raise AssertionError("no set of routes fits")


@pytest.mark.parametrize("labels", list(product([None, 1, 2], repeat=4)))
def test_no_smaller_set_of_routes_exists(labels: tuple[int | None, ...]) -> None:
    ranges: list[LabelledRange] = [
        (address, address, label) for address, label in enumerate(labels)
    ]
    routes = list(fewest_routes(ranges, width=2))
    found = [longest_match(routes, address, 2) for address in range(4)]
    assert found == list(labels)
    assert len(routes) == slow_fewest(list(labels), 2)


@settings(max_examples=examples(40))
@given(st.lists(st.sampled_from([None, 1, 1, 2, 2, 3]), min_size=8, max_size=8))
def test_no_smaller_set_of_routes_exists_among_eight(labels: list[int | None]) -> None:
    ranges: list[LabelledRange] = [
        (address, address, label) for address, label in enumerate(labels)
    ]
    routes = list(fewest_routes(ranges, width=3))
    assert [longest_match(routes, address, 3) for address in range(8)] == labels
    if len(routes) < 5:
        assert len(routes) == slow_fewest(labels, 3)


@given(st.lists(st.sampled_from([None, 1, 1, 2, 2, 3]), min_size=64, max_size=64))
def test_longest_match_gives_each_address_its_label(labels: list[int | None]) -> None:
    ranges = [(address, address, label) for address, label in enumerate(labels)]
    routes = list(fewest_routes(ranges, width=6))
    assert routes == sorted(routes)
    assert [longest_match(routes, address, 6) for address in range(64)] == labels


def test_everything_captured_is_two_halves() -> None:
    assert texts(plan(config(default="home"))) == [
        "0.0.0.0/1 mtu 1500",
        "128.0.0.0/1 mtu 1500",
        "::/1 mtu 1500",
        "8000::/1 mtu 1500",
    ]


def test_nothing_captured_is_no_route() -> None:
    assert plan(config(rule("bypass", "10.0.0.0/8"))) == []


def test_a_smaller_mtu_inside_a_block_is_a_nested_route() -> None:
    rules = config(rule("office", "10.1.2.0/24"), rule("home", "10.0.0.0/8"))
    assert texts(plan(rules)) == ["10.0.0.0/8 mtu 1500", "10.1.2.0/24 mtu 1420"]


def test_a_bypass_hole_is_carved_out_exactly() -> None:
    rules = config(rule("bypass", "10.0.0.0/32"), rule("home", "10.0.0.0/30"))
    assert texts(plan(rules)) == ["10.0.0.1/32 mtu 1500", "10.0.0.2/31 mtu 1500"]


def test_a_rule_for_ports_captures_its_whole_prefix_with_the_smallest_mtu() -> None:
    rules = config(rule("office", "192.0.2.0/24", ports=[(443, 443)]), default="bypass")
    assert texts(plan(rules)) == ["192.0.2.0/24 mtu 1420"]
    rules = config(rule("office", "192.0.2.0/24", protocols=["tcp"]), default="home")
    assert "192.0.2.0/24 mtu 1420" in texts(plan(rules))


def test_a_condition_that_can_never_apply_captures_nothing() -> None:
    rules = config(
        rule("bypass", "192.0.2.0/24", protocols=["tcp"]),
        rule("office", "192.0.2.0/25", protocols=["tcp"], ports=[(443, 443)]),
    )
    assert plan(rules) == []


def test_a_full_tunnel_with_exceptions_of_several_kinds() -> None:
    rules = config(
        rule("bypass", "127.0.0.0/8", "::1/128"),
        rule("office", "10.0.0.0/8", "fd00::/8"),
        default="home",
    )
    planned = texts(plan(rules))
    assert planned[:2] == ["0.0.0.0/2 mtu 1500", "10.0.0.0/8 mtu 1420"]
    assert "126.0.0.0/8 mtu 1500" in planned
    assert "128.0.0.0/1 mtu 1500" in planned
    assert "::/128 mtu 1500" in planned
    assert "fd00::/8 mtu 1420" in planned
    assert not [text for text in planned if text.startswith(("127.", "::1/"))]
