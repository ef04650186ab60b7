"""Where answers come from: the destinations whose packets can leave directly.

What arrives from there, by the interface of one of the policies that such packets can get, is an
answer that this policy is about, whether or not it passes the router.

Always true: prefixes are disjoint and ascending; nothing here depends on which policies are up.

Must not know: how answers are counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from router.config.model import Config, PolicyType
from router.config.ranges import split_range
from router.policy.match.table import RuleSet
from router.policy.match.traffic import TrafficClasses
from router.policy.prefixes import FAMILIES, WIDTHS
from router.policy.routes.capture import outcomes

MOST: Final = 100_000
"""Prefixes from which answers can be counted; see docs/limits.md."""
CARRY_NOTHING: Final = (PolicyType.REPLY, PolicyType.DROP, PolicyType.REJECT)


class AnsweredPrefix(NamedTuple):
    """A prefix, given as an int and a length, and the policies with an interface that the rules
    name for packets to it, sorted."""

    version: int
    first: int
    length: int
    policies: tuple[str, ...]


def answered_prefixes(config: Config, rule_set: RuleSet) -> Sequence[AnsweredPrefix]:
    """Those of all policies. None where `bypass` has a part of the traffic, as that may leave by
    the same interface; none at all where there are more than MOST."""
    found = list(islice(_prefixes(config, rule_set), MOST + 1))
    return found if len(found) <= MOST else ()


def _prefixes(config: Config, rule_set: RuleSet) -> Iterator[AnsweredPrefix]:
    for version in FAMILIES:
        for first, last, policies in _joined(_ranges(config, rule_set, version)):
            for start, length in split_range(first, last, WIDTHS[version]):
                yield AnsweredPrefix(version, start, length, policies)


def _ranges(
    config: Config, rule_set: RuleSet, version: int
) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    ranges = rule_set.table(version).ranges
    traffic = TrafficClasses(config.rules)
    known: dict[int, tuple[str, ...]] = {}
    for first, last, chain in ranges:
        policies = known.get(chain)
        if policies is None:
            named = outcomes(config, ranges.chains[chain], traffic)
            policies = known[chain] = _carrying(config, named)
        if policies:
            yield first, last, policies


def _carrying(config: Config, named: Iterable[str]) -> tuple[str, ...]:
    """Those with an interface; nothing besides `bypass`."""
    kinds = {name: config.policies[name].type for name in named}
    if PolicyType.BYPASS in kinds.values():
        return ()
    return tuple(sorted(name for name, kind in kinds.items() if kind not in CARRY_NOTHING))


def _joined(
    ranges: Iterable[tuple[int, int, tuple[str, ...]]],
) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Neighbours with the same policies as one range."""
    held: tuple[int, int, tuple[str, ...]] | None = None
    for first, last, policies in ranges:
        if held is not None and held[1] + 1 == first and held[2] == policies:
            held = held[0], last, policies
            continue
        if held is not None:
            yield held
        held = first, last, policies
    if held is not None:
        yield held
