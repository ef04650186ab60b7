"""Rules that can never match, that match in part only by mistake, or that change nothing.

A rule that decides nothing anywhere is `shadowed`, or `redundant` where the rules before it send
all its traffic to the same policy. A live rule of several prefixes is `partly-shadowed` when it
decides nothing in a whole one of them because earlier rules send that traffic elsewhere; a range
counts as one of them. A live rule is `redundant` when the rules behind it (those that can never
match left out of account) would send all its traffic to the same policy.

An exception before a general rule takes part of a prefix, not a whole one, and is no finding.

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
from router.policy.match.coverage import FAMILIES, Deciders, Extents
from router.policy.match.flatten import Chain
from router.policy.prefixes import unpack
from router.policy.resolve import policy_of

EXAMPLES = 5
"""Prefixes told for one finding."""

RANGES_SEARCHED = 64
"""Ranges looked through to name the rules behind one finding."""

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

    `by`: the rules that decide in its stead (earlier ones), or would if it were gone (later ones,
    0 for the default), ascending; those of the first RANGES_SEARCHED ranges where there are more.
    Empty for a rule whose protocols and ports exclude each other.
    `examples`: for each rule in `by`, the first prefix of this rule in which it does.
    `prefixes`: the first EXAMPLES prefixes concerned, out of `count`; of each range its first.
    """

    rule_index: int
    kind: ShadowKind
    by: tuple[int, ...]
    examples: tuple[FoundPrefix, ...]
    prefixes: tuple[FoundPrefix, ...]
    count: int


def find_shadows(config: Config, deciders: Deciders | None = None) -> list[Shadow]:
    """All findings, by rule index; one or two seconds for 100,000 rules.

    `deciders` are those of all rules, for a caller who has them already.
    """
    every = deciders or Deciders(config, config.rules)
    dead = [rule for rule in config.rules if rule.index not in every.live and any(_units(rule))]
    findings = [_judge_dead(every, rule) for rule in dead]
    live = every
    if dead:
        live = Deciders(config, [rule for rule in config.rules if rule.index in every.live])
    for rule in live.rules:
        if rule.index in live.idle:
            findings.append(_finding(ShadowKind.REDUNDANT, live.followers, live, rule))
    findings += _partly_shadowed(live)
    return sorted(findings, key=lambda shadow: shadow.rule_index)


def _units(rule: Rule) -> Iterator[Unit]:
    for version in FAMILIES:
        yield from ((version, (packed,)) for packed in rule.cidrs(version))
        yield from ((version, each.packed) for each in rule.all_ranges(version))


def _judge_dead(deciders: Deciders, rule: Rule) -> Shadow:
    kind = ShadowKind.SHADOWED
    if deciders.traffic.mask(rule) and not any(
        _taken_elsewhere(deciders, rule, *unit) for unit in _units(rule)
    ):
        kind = ShadowKind.REDUNDANT
    return _finding(kind, deciders.takers, deciders, rule)


def _taken_elsewhere(
    deciders: Deciders, rule: Rule, version: int, prefixes: tuple[int, ...]
) -> bool:
    """Whether earlier rules send some of the rule's traffic in the prefixes to other policies."""
    policy = policy_of(deciders.config, rule.index)
    return any(
        policy_of(deciders.config, index) != policy
        for packed in prefixes
        for chain in deciders.chains_in(version, packed)
        for index in deciders.takers(chain, rule)
    )


def _finding(
    kind: ShadowKind,
    instead: Callable[[Chain, Rule], list[int]],
    deciders: Deciders,
    rule: Rule,
    concerned: Iterable[Unit] | None = None,
) -> Shadow:
    """A finding about all prefixes of a rule, or about those concerned.

    `instead` tells who decides in the rule's stead by one chain.
    """
    units = list(_units(rule) if concerned is None else concerned)
    chains = (
        (version, packed, chain)
        for version, prefixes in units
        for packed in prefixes
        for chain in deciders.chains_in(version, packed)
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


def _partly_shadowed(deciders: Deciders) -> Iterator[Shadow]:
    """Findings about live rules that could not go."""
    candidates = {rule.index: rule for rule in _candidates(deciders)}
    if not candidates:
        return
    wanted = frozenset(candidates)
    extents = {version: deciders.extents(version, wanted) for version in FAMILIES}
    for rule in candidates.values():
        taken = [
            (version, prefixes)
            for version in FAMILIES
            for prefixes in _untouched(extents[version][rule.index], rule, version)
            if _taken_elsewhere(deciders, rule, version, prefixes)
        ]
        if taken:
            yield _finding(ShadowKind.PARTLY_SHADOWED, deciders.takers, deciders, rule, taken)


def _untouched(extents: Extents, rule: Rule, version: int) -> Iterator[tuple[int, ...]]:
    """The CIDRs and ranges of a rule in which it decides nothing."""
    for packed in extents.untouched(rule.cidrs(version)):
        yield (packed,)
    for each in rule.all_ranges(version):
        if sum(1 for _ in extents.untouched(each.packed)) == len(each.packed):
            yield each.packed


def _candidates(deciders: Deciders) -> Iterator[Rule]:
    """Rules with several CIDRs or ranges that follow some rule of another policy."""
    before: set[str] = set()
    for rule in deciders.rules:
        several = len(list(islice(_units(rule), 2))) == 2
        if several and before - {rule.policy} and rule.index not in deciders.idle:
            yield rule
        before.add(rule.policy)
