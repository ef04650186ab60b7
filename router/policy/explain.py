"""Which rule decides for an address, and which rules before it nearly matched.

A rule nearly matches in two cases: its prefix covers the address, but its condition is another
protocol or port; or its prefix ends beside the address: the address is in the block of equal size
beside it, or, as with a mistyped host address, within 256 addresses of it (IPv4) or within a /64
(IPv6). Of the latter the NEAR_MISSES nearest are given.

Always true: the skipped rules precede the one that decides; each has one reason.

Must not know: files, interfaces, routes, whether policies are up.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from operator import itemgetter
from typing import NamedTuple

from router.config.model import Config, Rule
from router.config.packed import LENGTH_BITS
from router.policy.match.flatten import Chain
from router.policy.match.table import RuleSet
from router.policy.match.traffic import WITH_PORTS, TrafficClasses, describe, protocol_name
from router.policy.prefixes import (
    HOST_MASKS,
    LENGTH_MASK,
    WIDTHS,
    as_written,
    format_address,
    unpack,
)

NEAR_MISSES = 5

NEIGHBOURHOOD = {4: 1 << 8, 6: 1 << 64}
"""Distance, in addresses, at which a block smaller than this is still a near miss."""

FURTHEST_BITS = 8
"""A block larger than a /8 is a near miss at the distance of a /8 at most."""


class Skipped(NamedTuple):
    """A rule that nearly matched; `why` is one sentence without a full stop."""

    rule_index: int
    why: str


class Branch(NamedTuple):
    """The rule for some of the traffic; `traffic` in words, as in `tcp port 443, 8000-8100`."""

    rule_index: int
    traffic: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """The rule that decides (0: the default), and those before it that nearly matched.

    Where protocol or port were not given and matter, `branches` has each outcome in the order of
    the rules, and `rule_index` is the last of them, which decides when no condition matches.
    Otherwise `branches` is empty.
    """

    rule_index: int
    skipped: tuple[Skipped, ...]
    branches: tuple[Branch, ...] = ()


def explain(
    config: Config,
    rule_set: RuleSet,
    version: int,
    address: int,
    protocol: int | None = None,
    port: int | None = None,
) -> Explanation:
    """Explains one address; `protocol` is the IP protocol number, `port` the destination port.

    Reads every prefix of the rules before the deciding one: below a second for a million.
    """
    chain = rule_set.chain(version, address)
    covering = [config.rules[index - 1] for index in chain if index]
    traffic = TrafficClasses(covering, port)
    asked = traffic.mask_of(protocol, port)
    shares = dict(traffic.shares(chain, config.rules, asked))
    decided = max(shares) if 0 not in shares else 0
    before = config.rules[: decided - 1] if decided else config.rules
    unfit = [
        Skipped(rule.index, _why_unfit(rule, traffic, asked, _in_words(protocol, port)))
        for rule in covering
        if rule.index not in shares and (rule.index < decided or not decided)
    ]
    near = _near_misses(before, version, address, frozenset(chain))
    branches = _branches(config, tuple(shares)) if len(shares) > 1 else ()
    return Explanation(decided, tuple(sorted([*unfit, *near])), branches)


def _branches(config: Config, indices: Chain) -> tuple[Branch, ...]:
    conditional = [Branch(index, describe(config.rules[index - 1])) for index in indices[:-1]]
    return (*conditional, Branch(indices[-1], "anything else"))


def _in_words(protocol: int | None, port: int | None) -> str:
    name = protocol_name(protocol) or f"protocol {protocol}" if protocol is not None else ""
    if port is None or (name and name not in WITH_PORTS):
        return name
    return f"{name} port {port}".strip()


def _why_unfit(rule: Rule, traffic: TrafficClasses, asked: int, words: str) -> str:
    if traffic.mask(rule) & asked:
        return f"only for {describe(rule)}, which earlier rules take"
    return f"only for {describe(rule)}; asked for {words}"


def _near_misses(
    rules: Sequence[Rule], version: int, address: int, covering: frozenset[int]
) -> list[Skipped]:
    """The rules with the nearest prefixes, out of those that do not cover the address."""
    missed = (
        (gap, rule.index, packed, rule)
        for rule in rules
        if rule.index not in covering
        for gap, packed in _nearest(rule, version, address)
    )
    return [
        Skipped(rule.index, _why_missed(rule, version, packed, address))
        for _, _, packed, rule in nsmallest(NEAR_MISSES, missed, key=itemgetter(0, 1, 2))
    ]


def _nearest(rule: Rule, version: int, address: int) -> Iterator[tuple[int, int]]:
    """(gap in addresses, packed prefix) of the prefix that is the nearest miss, if there is one."""
    host_masks = HOST_MASKS[version]
    nearby, furthest = NEIGHBOURHOOD[version], 1 << (WIDTHS[version] - FURTHEST_BITS)
    best, nearest = furthest + 1, 0
    for packed in rule.packed(version):
        first = packed >> LENGTH_BITS
        mask = host_masks[packed & LENGTH_MASK]
        gap = first - address if first > address else address - (first | mask)
        if gap < best and (gap <= mask + 1 or gap <= nearby):
            best, nearest = gap, packed
    if best <= furthest:
        yield best, nearest


def _why_missed(rule: Rule, version: int, packed: int, address: int) -> str:
    first, length = unpack(packed)
    prefix = as_written(rule, version, packed)
    if first > address:
        return f"{prefix} begins at {format_address(version, first)}"
    last = first | HOST_MASKS[version][length]
    return f"{prefix} ends at {format_address(version, last)}"
