"""Findings about rules, against decisions of the slow oracle with and without each rule."""

from __future__ import annotations

from hypothesis import given, settings

from router.config.model import Config
from router.config.packed import LENGTH_BITS
from router.policy.match.shadows import EXAMPLES, Shadow, ShadowKind, find_shadows
from tests.unit.examples import examples
from tests.unit.policy import oracle
from tests.unit.policy.configs import WIDTHS, config, configs, large_list, prefix, rule

Cell = tuple[int, int, oracle.Flow]
"""(version, address, flow): one of every kind that the rules can distinguish."""


def cells(rules: Config) -> list[Cell]:
    return [
        (version, address, flow)
        for version in (4, 6)
        for address in oracle.representatives(rules, version)
        for flow in oracle.flows(rules)
    ]


def slow_shadows(rules: Config) -> dict[int, ShadowKind]:
    """By definition: decisions counted one by one, and made again without each rule."""
    every = cells(rules)
    decided = {cell: oracle.decide(rules, *cell) for cell in every}
    live = set(decided.values())
    dead = frozenset(item.index for item in rules.rules) - live
    found = {}
    for item in rules.rules:
        policy = item.policy
        matched = [
            cell
            for cell in every
            if oracle.covers(item, cell[0], cell[1]) and oracle.fits(item, *cell[2])
        ]
        if item.index in dead:
            same = matched and all(
                oracle.policy(rules, decided[cell]) == policy for cell in matched
            )
            found[item.index] = ShadowKind.REDUNDANT if same else ShadowKind.SHADOWED
            continue
        own = [cell for cell in every if decided[cell] == item.index]
        without = dead | {item.index}
        if all(
            oracle.policy(rules, oracle.decide(rules, *cell, without=without)) == policy
            for cell in own
        ):
            found[item.index] = ShadowKind.REDUNDANT
        elif slow_taken(rules, item.index, decided):
            found[item.index] = ShadowKind.PARTLY_SHADOWED
    return found


def slow_taken(
    rules: Config, rule_index: int, decided: dict[Cell, int]
) -> list[tuple[int, int, int]]:
    """The prefixes in which a rule decides nothing, because others send part of it elsewhere."""
    item = rules.rules[rule_index - 1]
    taken = []
    for version in (4, 6):
        for first, last, length in oracle.written(item, version):
            inside = [
                index
                for (v, address, flow), index in decided.items()
                if v == version and first <= address <= last and oracle.fits(item, *flow)
            ]
            elsewhere = any(oracle.policy(rules, index) != item.policy for index in inside)
            if rule_index not in inside and elsewhere:
                taken.append((version, first, length))
    return taken


@settings(max_examples=examples(120))
@given(configs(versions=(4,)))
def test_findings_are_those_of_the_definition(rules: Config) -> None:
    shadows = find_shadows(rules)
    assert {shadow.rule_index: shadow.kind for shadow in shadows} == slow_shadows(rules)
    assert [s.rule_index for s in shadows] == sorted({s.rule_index for s in shadows})
    decided = {cell: oracle.decide(rules, *cell) for cell in cells(rules)}
    for shadow in shadows:
        assert_reasons_hold(rules, shadow, decided)


@settings(max_examples=examples(60))
@given(configs(max_rules=6))
def test_both_families_are_analysed_together(rules: Config) -> None:
    found = {shadow.rule_index: shadow.kind for shadow in find_shadows(rules)}
    assert found == slow_shadows(rules)


def assert_reasons_hold(rules: Config, shadow: Shadow, decided: dict[Cell, int]) -> None:
    """Every rule named decides, or would decide, in the prefix given as its example."""
    item = rules.rules[shadow.rule_index - 1]
    dead = frozenset(r.index for r in rules.rules) - set(decided.values())
    assert len(shadow.examples) == len(shadow.by)
    for index, (version, first, length) in zip(shadow.by, shadow.examples, strict=True):
        last = first + (1 << (WIDTHS[version] - length)) - 1
        assert first << LENGTH_BITS | length in list(item.packed(version))
        without = dead | {item.index}
        assert any(
            oracle.decide(rules, *cell, without=without) == index
            for cell in decided
            if cell[0] == version and first <= cell[1] <= last and oracle.fits(item, *cell[2])
        )
    if shadow.kind is ShadowKind.PARTLY_SHADOWED:
        taken = slow_taken(rules, shadow.rule_index, decided)
        assert list(shadow.prefixes) == taken[:EXAMPLES]
        assert shadow.count == len(taken)


def kinds(*rules_and_default: object) -> list[tuple[int, str, tuple[int, ...]]]:
    found = find_shadows(config(*rules_and_default))  # type: ignore[arg-type]
    return [(shadow.rule_index, shadow.kind.value, shadow.by) for shadow in found]


def test_a_general_rule_shadows_the_specific_ones_behind_it() -> None:
    assert kinds(
        rule("home", "10.0.0.0/8"),
        rule("office", "10.1.0.0/16"),
        rule("office", "10.2.0.0/16", ports=[(80, 80)]),
    ) == [(2, "shadowed", (1,)), (3, "shadowed", (1,))]


def test_an_exception_before_a_range_is_normal_use() -> None:
    exception = rule("bypass", "192.0.2.96/30")
    assert kinds(exception, rule("office", "192.0.2.10-192.0.2.99")) == []
    assert kinds(exception, rule("office", "10.0.0.0/8", "192.0.2.10-192.0.2.99")) == []


def test_a_range_that_is_taken_as_a_whole_is_one_finding() -> None:
    [shadow] = find_shadows(
        config(
            rule("bypass", "192.0.2.0/25"),
            rule("office", "10.0.0.0/8", "192.0.2.10-192.0.2.99", "192.0.3.0/24"),
        )
    )
    assert (shadow.kind, shadow.by, shadow.count) == (ShadowKind.PARTLY_SHADOWED, (1,), 1)
    assert shadow.prefixes == ((4, 0xC000020A, 31),)


def test_an_exception_before_a_general_rule_is_normal_use() -> None:
    assert kinds(rule("bypass", "10.1.0.0/16"), rule("office", "10.0.0.0/8")) == []
    assert kinds(rule("drop", "10.1.0.0/16"), rule("office", "10.0.0.0/8", "fd00::/8")) == []


def test_a_rule_for_one_protocol_shadows_only_that_protocol() -> None:
    tcp = rule("home", "10.0.0.0/8", protocols=["tcp"])
    assert kinds(tcp, rule("office", "10.0.0.0/8")) == []
    assert kinds(tcp, rule("office", "10.0.0.0/8", ports=[(80, 80)])) == []
    assert kinds(tcp, rule("office", "10.0.0.0/8", protocols=["tcp"], ports=[(80, 80)])) == [
        (2, "shadowed", (1,))
    ]


def test_tcp_udp_and_icmp_are_not_everything() -> None:
    three = [rule("home", "10.0.0.0/8", protocols=[name]) for name in ("tcp", "udp", "icmp")]
    assert kinds(*three, rule("office", "10.0.0.0/8")) == []
    assert kinds(*three, rule("office", "10.0.0.0/9", protocols=["icmp", "tcp", "udp"])) == [
        (4, "shadowed", (1, 2, 3))
    ]


def test_port_ranges_shadow_together() -> None:
    assert kinds(
        rule("home", "10.0.0.0/8", ports=[(0, 443)]),
        rule("drop", "10.0.0.0/8", ports=[(444, 65535)]),
        rule("office", "10.0.0.0/8", ports=[(400, 500)]),
        rule("office", "10.0.0.0/8", protocols=["tcp", "udp"]),
    ) == [(3, "shadowed", (1, 2)), (4, "shadowed", (1, 2))]


def test_two_halves_shadow_the_whole() -> None:
    found = find_shadows(
        config(
            rule("home", "10.0.0.0/9"), rule("drop", "10.128.0.0/9"), rule("reply", "10.0.0.0/8")
        )
    )
    whole = (4, 0x0A000000, 8)
    assert found == [Shadow(3, ShadowKind.SHADOWED, (1, 2), (whole, whole), (whole,), 1)]


def test_a_shadowed_prefix_of_a_list_is_reported_with_the_shadowing_rule() -> None:
    found = find_shadows(
        config(
            rule("bypass", "10.0.0.0/8"),
            rule("office", "10.1.0.0/16", "192.0.2.0/24", "10.2.0.0/16"),
        )
    )
    first, second = (4, 0x0A010000, 16), (4, 0x0A020000, 16)
    assert found == [Shadow(2, ShadowKind.PARTLY_SHADOWED, (1,), (first,), (first, second), 2)]


def test_the_same_policy_as_the_default_is_redundant() -> None:
    assert kinds(rule("bypass", "10.0.0.0/8")) == [(1, "redundant", (0,))]


def test_the_same_policy_as_the_rule_behind_is_redundant() -> None:
    assert kinds(rule("home", "10.1.0.0/16"), rule("home", "10.0.0.0/8")) == [
        (1, "redundant", (2,))
    ]


def test_a_rule_that_keeps_another_from_deciding_is_not_redundant() -> None:
    assert kinds(
        rule("home", "10.1.0.0/16"),
        rule("drop", "10.1.0.0/24", "192.0.2.0/24"),
        rule("home", "10.0.0.0/8"),
    ) == [(2, "partly-shadowed", (1,))]


def test_of_two_equal_rules_only_the_second_is_reported() -> None:
    assert kinds(rule("home", "10.0.0.0/8"), rule("home", "10.0.0.0/8")) == [(2, "redundant", (1,))]


def test_ports_of_a_protocol_without_ports_match_nothing() -> None:
    found = find_shadows(config(rule("home", "10.0.0.0/8", protocols=["icmp"], ports=[(1, 1)])))
    assert [(s.kind, s.by) for s in found] == [(ShadowKind.SHADOWED, ())]


def test_a_rule_without_prefixes_is_no_finding() -> None:
    assert kinds(rule("home")) == []


def test_examples_are_few_and_the_count_is_exact() -> None:
    found = find_shadows(
        config(
            rule("drop", "0.0.0.0/1"),
            rule("home", prefix("192.0.2.0/24"), lists=(large_list(2000, 4, 24),)),
        )
    )
    assert [(s.kind, s.by, len(s.prefixes), s.count) for s in found] == [
        (ShadowKind.PARTLY_SHADOWED, (1,), EXAMPLES, 2000)
    ]
