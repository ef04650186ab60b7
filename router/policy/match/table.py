"""Lookup of one address, at a cost that hardly grows with the number of prefixes; and the decision.

Theory of operation. With a million prefixes the time goes into cache misses, not comparisons; so
everything a lookup touches lies close together. The span between the first and the last boundary
is cut into up to 262,144 equal buckets. Each boundary has one fixed-size *entry*: its next bits
below the bucket's (the *digest*), a mark whether bits remain below those (the *rest*), and its
chain id. A lookup reads its bucket's bounds, bisects the few entries in it and finds the chain id
in the very entry it stops at. Only when an address equals a marked entry's digest are the rests
compared (IPv6 prefixes longer than about /64). Buckets that hold many entries, because real
address plans are clustered, are divided again. Measured by bench/lookup.py; the figures are in
docs/adr/003-lookup.md.

Always true: `lookup` gives the chain of the range that holds the address, for every address.

Must not know: what policies are or do.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from router.config.model import Config
from router.policy.match.flatten import Chain, Ranges, flatten, shallow
from router.policy.match.traffic import Condition, condition

BUCKET_BITS = 18
ENTRY_BITS = 64
CROWDED = 64
"""A bucket with more entries than this is divided again."""

PART_BITS = 3
"""The parts of a divided bucket hold 1 << 3 entries on average."""


class Buckets(NamedTuple):
    """Where to search: the starts bounds[b] to bounds[b + 1] - 1 lie in bucket b.

    Bucket b begins at low + (b << shift); `top` is the last one.
    """

    low: int
    shift: int
    top: int
    bounds: Sequence[int]


def divide(starts: Sequence[int], begin: int, end: int, bits: int) -> Buckets:
    """At most 1 << bits equal buckets over the span of starts[begin:end], which is not empty."""
    low = starts[begin]
    span = starts[end - 1] - low
    shift = max(0, span.bit_length() - bits)
    top = span >> shift
    bounds = array("I", [begin])
    for bucket in range(1, top + 1):
        bounds.append(bisect_left(starts, low + (bucket << shift), bounds[-1], end))
    bounds.append(end)
    return Buckets(low, shift, top, bounds)


def divide_crowded(starts: Sequence[int], root: Buckets) -> dict[int, Buckets]:
    """The buckets that hold many starts, each divided again, by bucket number."""
    crowded = {}
    for bucket in range(root.top + 1):
        begin, end = root.bounds[bucket], root.bounds[bucket + 1]
        if end - begin > CROWDED:
            bits = min(BUCKET_BITS, (end - begin).bit_length() - PART_BITS)
            crowded[bucket] = divide(starts, begin, end, bits)
    return crowded


class Table:
    """The lookup table of one family."""

    __slots__ = ("_crowded", "_entries", "_layout", "_rests", "_root", "ranges")

    def __init__(self, ranges: Ranges) -> None:
        """Keeps the ranges, which must not change afterwards."""
        self.ranges = ranges
        starts = ranges.starts
        begin = min(1, len(starts) - 1)
        bits = min(BUCKET_BITS, len(starts).bit_length())
        self._root = root = divide(starts, begin, len(starts), bits)
        self._crowded = divide_crowded(starts, root)
        id_bits = max(1, (len(ranges.chains) - 1).bit_length())
        digest_bits = min(root.shift, ENTRY_BITS - 1 - id_bits)
        rest_bits = root.shift - digest_bits
        self._layout = rest_bits, (1 << digest_bits) - 1, id_bits, (1 << id_bits) - 1
        self._entries = self._pack("I" if digest_bits + 1 + id_bits <= ENTRY_BITS // 2 else "Q")
        self._rests = self._pack_rests((1 << rest_bits) - 1)

    def _pack(self, typecode: str) -> array[int]:
        """digest, mark, chain id for each start; the first is in no bucket, its digest unused."""
        low = self._root.low
        rest_bits, digest_mask, id_bits, _ = self._layout
        rest_mask = (1 << rest_bits) - 1
        entries = array(typecode)
        for start, chain_id in zip(self.ranges.starts, self.ranges.chain_ids, strict=True):
            offset = start - low
            mark = 1 if offset & rest_mask else 0
            digest = offset >> rest_bits & digest_mask
            entries.append((digest << 1 | mark) << id_bits | chain_id)
        return entries

    def _pack_rests(self, rest_mask: int) -> Sequence[int]:
        """The bits below the digest of each start; nothing when no start has any."""
        low = self._root.low
        rests = [start - low & rest_mask for start in self.ranges.starts] if rest_mask else []
        if not any(rests[1:]):
            return ()
        return array("Q", rests) if rest_mask >> ENTRY_BITS == 0 else rests

    def lookup(self, address: int) -> Chain:
        """The chain of rules for an address, which must fit the family's width."""
        low, shift, top, bounds = self._root
        rest_bits, digest_mask, id_bits, id_mask = self._layout
        offset = address - low
        bucket = offset >> shift
        if bucket < 0:
            return self._outcome(0)
        if bucket > top:
            return self._outcome(-1)
        begin = bounds[bucket]
        end = bounds[bucket + 1]
        if end - begin > CROWDED:
            begin, end = self._narrow(address, bucket)
        entries = self._entries
        marked = (offset >> rest_bits & digest_mask) << 1 << id_bits | 1 << id_bits
        position = bisect_right(entries, marked | id_mask, begin, end) - 1
        entry = entries[position]
        if entry >= marked and position >= begin:
            return self._compare_rests(offset, begin, position)
        return self.ranges.chains[entry & id_mask]

    def _narrow(self, address: int, bucket: int) -> tuple[int, int]:
        """The part of a crowded bucket to search; empty when the answer is the one before it."""
        low, shift, top, bounds = self._crowded[bucket]
        offset = address - low
        if offset < 0:
            return bounds[0], bounds[0]
        part = offset >> shift
        if part > top:
            return bounds[-1], bounds[-1]
        return bounds[part], bounds[part + 1]

    def _compare_rests(self, offset: int, begin: int, position: int) -> Chain:
        """The answer among the entries up to `position` that have the digest of `offset`."""
        rest_bits, digest_mask, id_bits, id_mask = self._layout
        entries = self._entries
        digest = offset >> rest_bits & digest_mask
        first = bisect_left(entries, digest << 1 << id_bits, begin, position)
        rest = offset & ((1 << rest_bits) - 1)
        found = bisect_right(self._rests, rest, first, position + 1) - 1
        return self.ranges.chains[entries[found] & id_mask]

    def _outcome(self, position: int) -> Chain:
        return self.ranges.chains[self.ranges.chain_ids[position]]


class PlainTable:
    """The same for a few lookups: nothing is prepared, each costs more."""

    __slots__ = ("ranges",)

    def __init__(self, ranges: Ranges) -> None:
        self.ranges = ranges

    def lookup(self, address: int) -> Chain:
        """See Table.lookup."""
        position = bisect_right(self.ranges.starts, address) - 1
        return self.ranges.chains[self.ranges.chain_ids[position]]


class RuleSet:
    """The rules of a configuration, ready for decisions."""

    __slots__ = ("_conditions", "v4", "v6")

    def __init__(
        self, v4: Table | PlainTable, v6: Table | PlainTable, conditions: Mapping[int, Condition]
    ) -> None:
        """`conditions` holds every conditional rule, by index."""
        self.v4 = v4
        self.v6 = v6
        self._conditions = conditions

    @classmethod
    def build(cls, config: Config) -> RuleSet:
        """Flattens all rules; a million prefixes take a few seconds."""
        v4, v6 = (Table(flatten(config.rules, version)) for version in (4, 6))
        return cls(v4, v6, _conditions(config))

    @classmethod
    def for_few_lookups(cls, config: Config, ranges: Mapping[int, Ranges] | None = None) -> RuleSet:
        """Made in half the time. `ranges` are those of all rules, by family, flattened to any
        depth; without them all rules are flattened here."""
        v4, v6 = (
            PlainTable(
                shallow(ranges[version], config.rules) if ranges else flatten(config.rules, version)
            )
            for version in (4, 6)
        )
        return cls(v4, v6, _conditions(config))

    def table(self, version: int) -> Table | PlainTable:
        """The table of one family: 4 or 6."""
        return self.v4 if version == 4 else self.v6

    def chain(self, version: int, address: int) -> Chain:
        """The rules for an address in order; the last is unconditional (0: the default)."""
        return (self.v4 if version == 4 else self.v6).lookup(address)

    def decide(self, version: int, address: int, protocol: int, port: int = 0) -> int:
        """The index of the rule for a flow; 0 where the default decides.

        `protocol` is the IP protocol number, `port` the destination port, ignored without ports.
        """
        chain = (self.v4 if version == 4 else self.v6).lookup(address)
        for rule in chain[:-1]:
            if self._conditions[rule].matches(protocol, port):
                return rule
        return chain[-1]


def _conditions(config: Config) -> dict[int, Condition]:
    return {rule.index: condition(rule) for rule in config.rules if rule.conditional}
