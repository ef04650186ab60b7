"""Rules -> disjoint ranges, each with the rules that can decide there.

Theory of operation. CIDRs are nested or disjoint, never half overlapping. Sorted as packed
integers, a block comes before everything inside it, so one sweep with a stack of enclosing blocks
visits every boundary once. At each address the outcome is a *chain*: the ascending indices of the
conditional rules that precede the first unconditional one, and then that one, or 0 (the default).
Few distinct chains exist, so they are interned as small integers.

Always true of Ranges: the first range starts at 0, each ends where the next begins, the last at
the end of the address space; neighbours have different chains.

Must not know: what policies are or do.
"""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_right
from collections.abc import Collection, Iterator, MutableSequence, Sequence
from dataclasses import dataclass

from router.config.model import Rule
from router.config.packed import LENGTH_BITS
from router.policy.prefixes import HOST_MASKS, LENGTH_MASK, WIDTHS

Chain = tuple[int, ...]
"""Rule indices in the order of evaluation; the last is unconditional (0: default)."""

NO_RULES: Chain = (0,)


@dataclass(frozen=True, slots=True)
class Ranges:
    """Range i covers starts[i] up to starts[i + 1] - 1 and has the chain chains[chain_ids[i]]."""

    version: int
    starts: Sequence[int]
    chain_ids: Sequence[int]
    chains: Sequence[Chain]

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """(first, last, chain id) of every range, ascending."""
        following = itertools.chain(itertools.islice(self.starts, 1, None), (self._end(),))
        for first, after, chain_id in zip(self.starts, following, self.chain_ids, strict=True):
            yield first, after - 1, chain_id

    def overlapping(self, first: int, last: int, limit: int) -> Iterator[tuple[int, int]]:
        """(start, chain id) of the ranges with an address in [first, last], at most `limit`."""
        begin = bisect_right(self.starts, first) - 1
        for position in range(begin, min(begin + limit, len(self.starts))):
            if self.starts[position] > last:
                return
            yield self.starts[position], self.chain_ids[position]

    def _end(self) -> int:
        """The address behind the last one of the family."""
        return 1 << WIDTHS[self.version]


class Chains:
    """All chains seen, each with a small integer; 0 is the chain of the default alone.

    `depth` is how many unconditional rules end a chain: 1 for lookups; 2 to have as well the rule
    that would decide if the first of them were removed.
    """

    def __init__(self, conditional: Collection[int], depth: int = 1) -> None:
        self.chains: list[Chain] = [NO_RULES]
        self._ids: dict[Chain, int] = {NO_RULES: 0}
        self._conditional = conditional
        self._depth = depth

    def extend(self, chain_id: int, rules: Sequence[int]) -> int:
        """The chain that `chain_id` becomes where `rules` match too."""
        chain = self._merge(self.chains[chain_id], rules)
        found = self._ids.get(chain)
        if found is None:
            found = self._ids[chain] = len(self.chains)
            self.chains.append(chain)
        return found

    def _merge(self, chain: Chain, rules: Sequence[int]) -> Chain:
        known = chain[:-1] if chain[-1] == 0 else chain
        merged = sorted({*known, *rules})
        unconditional = 0
        for position, rule in enumerate(merged):
            if rule not in self._conditional:
                unconditional += 1
                if unconditional == self._depth:
                    return tuple(merged[: position + 1])
        return (*merged, 0)


def flatten(rules: Sequence[Rule], version: int, depth: int = 1) -> Ranges:
    """The disjoint ranges of one family; `depth` as in Chains. Rules may be left out, not moved."""
    rule_bits = rules[-1].index.bit_length() if rules else 1
    keys = [packed << rule_bits | rule.index for rule in rules for packed in rule.packed(version)]
    keys.sort()
    chains = Chains(frozenset(rule.index for rule in rules if rule.conditional), depth)
    return _sweep(keys, rule_bits, version, chains)


def shallow(ranges: Ranges, rules: Sequence[Rule]) -> Ranges:
    """The ranges of `flatten` at any depth, reduced to depth 1."""
    conditional = frozenset(rule.index for rule in rules if rule.conditional)
    ids: dict[Chain, int] = {}
    cut = [
        ids.setdefault(_up_to_unconditional(chain, conditional), len(ids))
        for chain in ranges.chains
    ]
    if len(ids) == len(cut):
        return Ranges(ranges.version, ranges.starts, ranges.chain_ids, list(ids))
    starts: MutableSequence[int] = array("I") if ranges.version == 4 else []
    chain_ids = array("I")
    written = -1
    for start, chain_id in zip(ranges.starts, ranges.chain_ids, strict=True):
        if cut[chain_id] != written:
            written = cut[chain_id]
            starts.append(start)
            chain_ids.append(written)
    return Ranges(ranges.version, starts, chain_ids, list(ids))


def _up_to_unconditional(chain: Chain, conditional: Collection[int]) -> Chain:
    for position, rule in enumerate(chain):
        if rule not in conditional:
            return chain[: position + 1]
    return chain


def _sweep(  # noqa: PLR0912  flat on purpose, see below
    keys: list[int], rule_bits: int, version: int, chains: Chains
) -> Ranges:
    """One pass over the sorted prefixes; `end` and `chain` are those of the innermost open block.

    Written out flat, without helpers: a million prefixes pass through this loop.
    """
    host_masks = HOST_MASKS[version]
    starts: MutableSequence[int] = array("I") if version == 4 else []
    chain_ids = array("I")
    memo: dict[tuple[int, int], int] = {}
    outer: list[tuple[int, int]] = []
    end, chain = host_masks[0], 0
    cursor, written = 0, -1
    for packed, rule, others in _by_prefix(keys, rule_bits):
        first = packed >> LENGTH_BITS
        while end < first:
            if cursor <= end:
                if chain != written:
                    starts.append(cursor)
                    chain_ids.append(chain)
                    written = chain
                cursor = end + 1
            end, chain = outer.pop()
        if cursor < first:
            if chain != written:
                starts.append(cursor)
                chain_ids.append(chain)
                written = chain
            cursor = first
        outer.append((end, chain))
        end = first | host_masks[packed & LENGTH_MASK]
        if others:
            chain = chains.extend(chain, (rule, *others))
        else:
            step = chain, rule
            found = memo.get(step)
            if found is None:
                found = memo[step] = chains.extend(chain, (rule,))
            chain = found
    while True:
        if cursor <= end:
            if chain != written:
                starts.append(cursor)
                chain_ids.append(chain)
                written = chain
            cursor = end + 1
        if not outer:
            return Ranges(version, starts, chain_ids, chains.chains)
        end, chain = outer.pop()


def _by_prefix(keys: list[int], rule_bits: int) -> Iterator[tuple[int, int, list[int]]]:
    """(packed prefix, its lowest rule, its other rules) of sorted keys.

    All rules of one prefix at once: a thousand port rules on one CIDR make one chain, not a
    thousand ever longer ones.
    """
    if not keys:
        return
    rule_mask = (1 << rule_bits) - 1
    held, rule = keys[0] >> rule_bits, keys[0] & rule_mask
    others: list[int] = []
    for key in keys[1:]:
        packed = key >> rule_bits
        if packed == held:
            others.append(key & rule_mask)
            continue
        yield held, rule, others
        if others:
            others = []
        held, rule = packed, key & rule_mask
    yield held, rule, others
