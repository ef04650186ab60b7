"""A hundred thousand rules from a file: each is hit by its own probe, compared with an oracle.

The oracle is first match by definition, made fast enough by looking at the few rules only whose
network can hold an address: those of the same first 16 bits, and the short ones.
"""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

from router.config.loader import load
from router.policy.match.table import RuleSet

RULES = 20_000
SEED = 7
POLICIES = ("home", "office", "drop", "bypass")
CONDITIONS = (
    ("", 1, 0),
    ("", 6, 22),
    (", protocol: tcp, port: 443", 6, 443),
    (", protocol: udp", 17, 53),
    (", port: 8000-8100", 17, 8050),
    (", protocol: icmp", 1, 0),
)
NUMBERS = {"icmp": {1}, "tcp": {6}, "udp": {17}}

Written = tuple[int, int, str]
"""(first address, prefix length, condition as written)."""


def written_rules() -> list[tuple[Written, tuple[int, int, int]]]:
    """Each with an address, protocol and port that it matches: hosts first, then wider and wider
    networks around them, so that every rule has addresses that none before it takes."""
    generator = random.Random(SEED)
    found = []
    blocks = generator.sample(range(1 << 18), RULES // 4)
    for length in (32, 30, 28, 26):
        for number in blocks:
            base = number << 10 | 1 << 30
            first = base if length == 32 else base >> (32 - length) << (32 - length)
            condition, protocol, port = generator.choice(CONDITIONS)
            probe = first | ((1 << (32 - length)) - 1)
            found.append(((first, length, condition), (probe, protocol, port)))
    return found


def dotted(address: int) -> str:
    return ".".join(str(address >> shift & 255) for shift in (24, 16, 8, 0))


def fits(condition: str, protocol: int, port: int) -> bool:
    named = [number for name, number in NUMBERS.items() if f"protocol: {name}" in condition]
    if named and protocol not in named[0]:
        return False
    if "port: 443" in condition:
        return port == 443
    return "port: 8000" not in condition or (protocol in (6, 17) and 8000 <= port <= 8100)


def test_every_rule_of_a_large_file_is_hit_by_its_probe(tmp_path: Path) -> None:
    rules = written_rules()
    lines = [
        f"  - {{cidr: {dotted(first)}/{length}{condition}, policy: {POLICIES[index % 4]}}}\n"
        for index, ((first, length, condition), _) in enumerate(rules)
    ]
    head = "version: 1\npolicies:\n  home: {type: direct, interface: eth0}\n"
    head += "  office: {type: vpn, interface: wg0}\nrules:\n"
    (tmp_path / "rules.yaml").write_text(head + "".join(lines), encoding="utf-8")
    config = load(tmp_path / "rules.yaml").config
    assert config is not None
    rule_set = RuleSet.build(config)
    near: dict[int, list[int]] = defaultdict(list)
    for index, ((first, _, _), _) in enumerate(rules):
        near[first >> 16].append(index)
    for index, (_, (address, protocol, port)) in enumerate(rules):
        expected = next(
            other
            for other in near[address >> 16]
            if address >> (32 - rules[other][0][1])
            == rules[other][0][0] >> (32 - rules[other][0][1])
            and fits(rules[other][0][2], protocol, port)
        )
        assert expected == index, "the probe is the rule's own"
        assert rule_set.decide(4, address, protocol, port) == index + 1
