"""Rule coverage: which rule decides for which traffic, and which rules can be removed without
changing a decision.

Theory of operation. Rules are flattened two unconditional rules deep, so that the chain of a range
has the rules that decide there and those that would decide if any one rule were removed. The
ranges are many and the chains few: each chain is evaluated once.

Always true: a rule is *live* if it decides for some traffic to some address; it is *redundant* if
it is live and every decision would name the same policy without it.

Must not know: how findings are worded (see shadows).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence

from router.config.model import Config, Rule
from router.config.packed import LENGTH_BITS
from router.policy.match.flatten import Chain, Ranges, flatten
from router.policy.match.traffic import TrafficClasses
from router.policy.prefixes import FAMILIES, HOST_MASKS, LENGTH_MASK
from router.policy.resolve import policy_of


class Extents:
    """The ranges of one family in which one rule decides: their starts and ends, ascending."""

    def __init__(self, version: int) -> None:
        self.starts: array[int] | list[int] = array("I") if version == 4 else []
        self.ends: array[int] | list[int] = array("I") if version == 4 else []
        self._host_masks = HOST_MASKS[version]

    def undecided(self, prefixes: Iterable[int]) -> Iterator[int]:
        """Those of the packed prefixes in which the rule never decides."""
        starts, ends, host_masks = self.starts, self.ends, self._host_masks
        for packed in prefixes:
            first = packed >> LENGTH_BITS
            position = bisect_right(starts, first | host_masks[packed & LENGTH_MASK])
            if not position or ends[position - 1] < first:
                yield packed


class RuleCoverage:
    """The coverage of the rules of a configuration, or of some of them."""

    def __init__(self, config: Config, rules: Sequence[Rule]) -> None:
        self.config = config
        self.rules = rules
        self._rules = config.rules
        self.traffic = TrafficClasses(config.rules)
        self.live: set[int] = set()
        self._needed: set[int] = set()
        self.ranges: Mapping[int, Ranges] = {
            version: flatten(rules, version, depth=2) for version in FAMILIES
        }
        self._deciding = {version: self._evaluate_all(version) for version in FAMILIES}
        self.redundant = self.live - self._needed

    def _evaluate_all(self, version: int) -> list[Chain]:
        """For each chain id the rules that decide by it; nothing for unused chains."""
        ranges = self.ranges[version]
        used = set(ranges.chain_ids)
        return [
            self._evaluate(chain) if chain_id in used else ()
            for chain_id, chain in enumerate(ranges.chains)
        ]

    def _evaluate(self, chain: Chain) -> Chain:
        """The rules that decide by a chain; updates `live` and `_needed`."""
        first = chain[0]
        if len(chain) == 2 and not self._rules[first - 1].conditional:
            self.live.add(first)
            if policy_of(self.config, first) != policy_of(self.config, chain[1]):
                self._needed.add(first)
            return chain[:1]
        shares = dict(self.traffic.shares(chain, self._rules))
        self._note_needed(chain, shares)
        shares.pop(0, None)
        self.live.update(shares)
        return tuple(shares)

    def _note_needed(self, chain: Chain, shares: Mapping[int, int]) -> None:
        """From the last rule up: `after` is the traffic that later rules send to each policy."""
        after: dict[str, int] = {}
        for index in reversed(chain):
            policy = policy_of(self.config, index)
            if index in shares and shares[index] & ~after.get(policy, 0):
                self._needed.add(index)
            mask = self.traffic.mask(self._rules[index - 1]) if index else self.traffic.everything
            after = {other: held & ~mask for other, held in after.items()}
            after[policy] = after.get(policy, 0) | mask

    def extents(self, version: int, wanted: frozenset[int]) -> Mapping[int, Extents]:
        """The ranges in which each of the wanted rules decides, in one pass over all ranges."""
        found = {index: Extents(version) for index in wanted}
        by_chain = [
            [found[index] for index in deciding if index in wanted]
            for deciding in self._deciding[version]
        ]
        for first, last, chain_id in self.ranges[version]:
            for extents in by_chain[chain_id]:
                extents.starts.append(first)
                extents.ends.append(last)
        return found

    def chains_in(self, version: int, packed: int) -> Iterator[Chain]:
        """The chain of every range that has an address in the prefix."""
        ranges = self.ranges[version]
        first = packed >> LENGTH_BITS
        last = first | HOST_MASKS[version][packed & LENGTH_MASK]
        position = bisect_right(ranges.starts, first) - 1
        while position < len(ranges.starts) and ranges.starts[position] <= last:
            yield ranges.chains[ranges.chain_ids[position]]
            position += 1

    def decided_by(self, chain: Chain, rule: Rule) -> list[int]:
        """The rules that decide by this chain for the traffic of a rule that never decides."""
        mask = self.traffic.mask(rule)
        return [index for index, _ in self.traffic.shares(chain, self._rules, mask)]

    def replaced_by(self, chain: Chain, rule: Rule) -> list[int]:
        """The rules that would decide by this chain if the rule were removed; empty where the rule
        decides nothing."""
        share = dict(self.traffic.shares(chain, self._rules)).get(rule.index, 0)
        if not share:
            return []
        later = chain[chain.index(rule.index) + 1 :]
        return [index for index, _ in self.traffic.shares(later, self._rules, share)]
