"""Shadowed and redundant rules: those that never match, match only in part, or change nothing.

A rule that never decides is `shadowed`, or `redundant` where the rules before it send all its
traffic to the same policy. A live rule of several prefixes is `partly-shadowed` when it decides
nothing in a whole one of them because earlier rules send that traffic to other policies; a range
counts as one of them. A live rule is `redundant` when later rules (apart from those that can never
match) would send all its traffic to the same policy.

An exception before a general rule covers part of a prefix, not a whole one, and is no finding.

Always true: a rule has at most one finding; findings are in the order of the rules; a rule without
prefixes has none.

Must not know: files, places, wording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from router.config.model import Config, Rule
from router.policy.match.coverage import Extents, RuleCoverage
from router.policy.match.flatten import Chain
from router.policy.prefixes import FAMILIES, unpack
from router.policy.resolve import policy_of

EXAMPLES = 5
"""Prefixes shown for one finding."""

RANGES_SEARCHED = 64
"""Ranges searched to name the rules that cause one finding."""

FoundPrefix = tuple[int, int, int]
"""(version, first, length)."""

Unit = tuple[int, tuple[int, ...]]
"""(version, packed prefixes): one CIDR, or all that a range is."""


class ShadowKind(StrEnum):
    SHADOWED = "shadowed"
    PARTLY_SHADOWED = "partly-shadowed"
    REDUNDANT = "redundant"


@dataclass(frozen=True, slots=True)
class Shadow:
    """A finding about one rule.

    `by`: the rules that decide instead (earlier ones), or would if it were removed (later ones, 0
    for the default), ascending; those of the first RANGES_SEARCHED ranges where there are more.
    Empty for a rule whose protocols and ports exclude each other.
    `examples`: for each rule in `by`, the first prefix of this rule in which it decides.
    `prefixes`: the first EXAMPLES prefixes concerned, out of `count`; of each range its first.
    """

    rule_index: int
    kind: ShadowKind
    by: tuple[int, ...]
    examples: tuple[FoundPrefix, ...]
    prefixes: tuple[FoundPrefix, ...]
    count: int


def find_shadows(config: Config, coverage: RuleCoverage | None = None) -> list[Shadow]:
    """All findings, by rule index; one or two seconds for 100,000 rules.

    `coverage` is that of all rules; without it, it is computed here.
    """
    every = coverage or RuleCoverage(config, config.rules)
    dead = [rule for rule in config.rules if rule.index not in every.live and any(_units(rule))]
    findings = [_never_matching(every, rule) for rule in dead]
    live = every
    if dead:
        live = RuleCoverage(config, [rule for rule in config.rules if rule.index in every.live])
    for rule in live.rules:
        if rule.index in live.redundant:
            findings.append(_finding(ShadowKind.REDUNDANT, live.replaced_by, live, rule))
    findings += _partly_shadowed(live)
    return sorted(findings, key=lambda shadow: shadow.rule_index)


def _units(rule: Rule) -> Iterator[Unit]:
    for version in FAMILIES:
        yield from ((version, (packed,)) for packed in rule.cidrs(version))
        yield from ((version, each.packed) for each in rule.all_ranges(version))


def _never_matching(coverage: RuleCoverage, rule: Rule) -> Shadow:
    kind = ShadowKind.SHADOWED
    if coverage.traffic.mask(rule) and not any(
        _sent_elsewhere(coverage, rule, *unit) for unit in _units(rule)
    ):
        kind = ShadowKind.REDUNDANT
    return _finding(kind, coverage.decided_by, coverage, rule)


def _sent_elsewhere(
    coverage: RuleCoverage, rule: Rule, version: int, prefixes: tuple[int, ...]
) -> bool:
    """Whether earlier rules send some of the rule's traffic in the prefixes to other policies."""
    policy = policy_of(coverage.config, rule.index)
    return any(
        policy_of(coverage.config, index) != policy
        for packed in prefixes
        for chain in coverage.chains_in(version, packed)
        for index in coverage.decided_by(chain, rule)
    )


def _finding(
    kind: ShadowKind,
    instead: Callable[[Chain, Rule], list[int]],
    coverage: RuleCoverage,
    rule: Rule,
    concerned: Iterable[Unit] | None = None,
) -> Shadow:
    """A finding about all prefixes of a rule, or about those concerned.

    `instead` gives the rules that decide instead of the rule by one chain.
    """
    units = list(_units(rule) if concerned is None else concerned)
    chains = (
        (version, packed, chain)
        for version, prefixes in units
        for packed in prefixes
        for chain in coverage.chains_in(version, packed)
    )
    by: dict[int, FoundPrefix] = {}
    for version, packed, chain in islice(chains, RANGES_SEARCHED):
        for index in instead(chain, rule):
            by.setdefault(index, (version, *unpack(packed)))
    indices = tuple(sorted(by))
    return Shadow(
        rule.index,
        kind,
        indices,
        tuple(by[index] for index in indices),
        tuple((version, *unpack(prefixes[0])) for version, prefixes in units[:EXAMPLES]),
        len(units),
    )


def _partly_shadowed(coverage: RuleCoverage) -> Iterator[Shadow]:
    """Findings about live rules that are not redundant."""
    candidates = {rule.index: rule for rule in _candidates(coverage)}
    if not candidates:
        return
    wanted = frozenset(candidates)
    extents = {version: coverage.extents(version, wanted) for version in FAMILIES}
    for rule in candidates.values():
        taken = [
            (version, prefixes)
            for version in FAMILIES
            for prefixes in _undecided(extents[version][rule.index], rule, version)
            if _sent_elsewhere(coverage, rule, version, prefixes)
        ]
        if taken:
            yield _finding(ShadowKind.PARTLY_SHADOWED, coverage.decided_by, coverage, rule, taken)


def _undecided(extents: Extents, rule: Rule, version: int) -> Iterator[tuple[int, ...]]:
    """The CIDRs and ranges of a rule in which it never decides."""
    for packed in extents.undecided(rule.cidrs(version)):
        yield (packed,)
    for each in rule.all_ranges(version):
        if sum(1 for _ in extents.undecided(each.packed)) == len(each.packed):
            yield each.packed


def _candidates(coverage: RuleCoverage) -> Iterator[Rule]:
    """Rules with several CIDRs or ranges that follow some rule of another policy."""
    before: set[str] = set()
    for rule in coverage.rules:
        several = len(list(islice(_units(rule), 2))) == 2
        if several and before - {rule.policy} and rule.index not in coverage.redundant:
            yield rule
        before.add(rule.policy)
