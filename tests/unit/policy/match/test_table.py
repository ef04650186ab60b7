"""Lookup and decision, against a linear scan."""

from __future__ import annotations

from array import array
from random import Random

import pytest
from hypothesis import given, settings

from router.config.model import Config, Prefix, PrefixList
from router.config.packed import LENGTH_BITS
from router.policy.match.flatten import flatten
from router.policy.match.table import CROWDED, RuleSet
from tests.unit.examples import examples
from tests.unit.policy import oracle
from tests.unit.policy.configs import PLACE, WIDTHS, config, configs, large_list, rule


def assert_agrees(rules: Config) -> None:
    rule_set = RuleSet.build(rules)
    flows = oracle.flows(rules)
    for version in (4, 6):
        for address in oracle.boundaries(rules, version):
            for flow in flows:
                decided = rule_set.decide(version, address, *flow)
                assert decided == oracle.decide(rules, version, address, flow)


@settings(max_examples=examples(80))
@given(configs())
def test_decisions_are_first_match(rules: Config) -> None:
    assert_agrees(rules)


@pytest.mark.parametrize(
    "cidrs",
    [
        [],
        ["0.0.0.0/0", "::/0"],
        ["0.0.0.0/32", "::/128"],
        ["255.255.255.255/32", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"],
        ["10.0.0.0/9", "10.128.0.0/9", "10.0.0.0/8"],
        ["10.0.0.0/8", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32"],
        ["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1"],
        ["2001:db8::/32", "2001:db8::1/128", "2001:db8::2/128", "2001:db8:0:1::/64"],
    ],
    ids=lambda cidrs: ",".join(cidrs) or "none",
)
@pytest.mark.parametrize("reverse", [False, True])
def test_edges(cidrs: list[str], reverse: bool) -> None:
    ordered = cidrs[::-1] if reverse else cidrs
    assert_agrees(config(*(rule("home", cidr) for cidr in ordered)))


def test_a_chain_holds_the_conditions_in_order_and_then_what_decides() -> None:
    rule_set = RuleSet.build(
        config(
            rule("office", "10.1.0.0/16", protocols=["tcp"]),
            rule("home", "10.0.0.0/8", ports=[(53, 53)]),
            rule("drop", "10.1.1.0/24"),
            rule("reply", "10.0.0.0/8", protocols=["icmp"]),
        )
    )
    assert rule_set.chain(4, 0x0A010101) == (1, 2, 3)
    assert rule_set.chain(4, 0x0A010201) == (1, 2, 4, 0)
    assert rule_set.chain(4, 0x0A020201) == (2, 4, 0)
    assert rule_set.chain(4, 0x0B000000) == (0,)
    assert rule_set.chain(6, 0x0A010101) == (0,)


def test_neighbours_with_one_outcome_are_one_range() -> None:
    rules = config(rule("home", "10.0.0.0/9", "10.128.0.0/9", "10.5.0.0/16"))
    assert list(flatten(rules.rules, 4)) == [
        (0, 0x09FFFFFF, 0),
        (0x0A000000, 0x0AFFFFFF, 1),
        (0x0B000000, 0xFFFFFFFF, 0),
    ]


def random_list(version: int, count: int, lengths: tuple[int, int], heads: int) -> list[int]:
    """Packed prefixes in a few crowded /16s, as real address plans are."""
    width = WIDTHS[version]
    random = Random(f"{version} {count} {lengths} {heads}")
    tops = [random.getrandbits(16) for _ in range(heads)]
    packed = []
    for _ in range(count):
        host_bits = width - random.randint(*lengths)
        address = random.choice(tops) << (width - 16) | random.getrandbits(width - 16)
        packed.append((address >> host_bits << host_bits) << LENGTH_BITS | width - host_bits)
    return packed


@pytest.mark.parametrize(
    ("version", "lengths", "heads"),
    [
        (4, (17, 32), 3),
        (4, (32, 32), 40),
        (6, (29, 64), 3),
        (6, (48, 128), 2),
        (6, (120, 128), 40),
        (6, (128, 128), 1),
    ],
)
def test_crowded_tables_agree_with_a_plain_bisect(
    version: int, lengths: tuple[int, int], heads: int
) -> None:
    """Each range is probed at both ends; that the ranges are right is tested above."""
    width = WIDTHS[version]
    lists = []
    for part in range(5):
        packed = random_list(version, CROWDED * 30, lengths, heads + part)
        lists.append(
            PrefixList("a", v4=array("Q", packed)) if version == 4 else PrefixList("a", v6=packed)
        )
    rules = config(*(rule("home", lists=(items,)) for items in lists))
    rule_set = RuleSet.build(rules)
    ranges = flatten(rules.rules, version)
    random = Random(width)
    for first, last, chain_id in ranges:
        expected = ranges.chains[chain_id]
        for address in (first, last, random.randint(first, last)):
            assert rule_set.chain(version, address) == expected


@pytest.mark.parametrize("version", [4, 6])
def test_adjacent_hosts_are_distinguished(version: int) -> None:
    """Many boundaries in one smallest bucket, all with the same leading bits."""
    base = 0x0A000000 if version == 4 else 0x20010DB8 << 96
    width = WIDTHS[version]
    far = Prefix(version, 1 << (width - 1), width, PLACE)
    hosts = [Prefix(version, base | number, width, PLACE) for number in range(0, 700, 2)]
    rule_set = RuleSet.build(config(rule("home", *hosts), rule("drop", far)))
    for number in range(700):
        assert rule_set.chain(version, base | number) == ((0,) if number % 2 else (1,))
    assert rule_set.chain(version, base | 700) == (0,)
    assert rule_set.chain(version, far.first) == (2,)


def test_many_rules_each_found_at_its_own_address() -> None:
    hosts = [Prefix(4, 0x0A000000 + 3 * number, 32, PLACE) for number in range(5000)]
    rule_set = RuleSet.build(config(*(rule("home", host) for host in hosts)))
    for index, host in enumerate(hosts, start=1):
        assert rule_set.chain(4, host.first) == (index,)
        assert rule_set.chain(4, host.first + 1) == (0,)


def test_a_thousand_port_rules_on_one_prefix() -> None:
    rules = config(*(rule("home", "10.0.0.0/8", ports=[(port, port)]) for port in range(1, 1001)))
    rule_set = RuleSet.build(rules)
    assert rule_set.decide(4, 0x0A000001, 6, 1000) == 1000
    assert rule_set.decide(4, 0x0A000001, 6, 1001) == 0
    assert len(rule_set.v4.ranges.chains) == 2


def test_a_large_list_is_found_and_its_gaps_are_not() -> None:
    for version, length in ((4, 24), (6, 48)):
        rule_set = RuleSet.build(config(rule("home", lists=(large_list(20_000, version, length),))))
        size = 1 << (WIDTHS[version] - length)
        for number in range(0, 40_000, 7):
            expected = (0,) if number % 2 else (1,)
            assert rule_set.chain(version, number * size) == expected
            assert rule_set.chain(version, number * size + size - 1) == expected
