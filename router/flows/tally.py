"""Counters of packets, bytes and flows, by policy and by the rule that chose it.

A *tally* stands for one policy and one rule, and for whether the system counts what comes in from
there. Every flow has a reference to its own, so that a packet costs two additions and no look-up;
the total of a policy or a rule is the sum over its tallies, and is computed on demand.

Always true: the policy is the one that applied, also where that is the `on_down` of the one that
the rule names; `flows` is the number of flows in the tables that have this tally.

Must not know: packets, flows.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator, Mapping


class Tally:
    """The traffic of a policy because of a rule. rule: its index; 0 stands for the default.

    `out` is from the inside, `in` to the inside; bytes are those of whole IP packets.

    is_counted_outside: whether the system counts what comes in for this policy from where these
    packets go, flows or not: then `in` is part of that.
    misses_answers: whether packets have left whose answers nothing counts.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "flows",
        "is_counted_outside",
        "misses_answers",
        "packets_in",
        "packets_out",
        "policy",
        "rule",
    )

    def __init__(self, policy: str, rule: int, *, is_counted_outside: bool = False) -> None:
        self.policy = policy
        self.rule = rule
        self.is_counted_outside = is_counted_outside
        self.misses_answers = False
        self.packets_out = 0
        self.bytes_out = 0
        self.packets_in = 0
        self.bytes_in = 0
        self.flows = 0

    def went_out(self, size: int) -> None:
        """Count a packet of `size` bytes from the inside."""
        self.packets_out += 1
        self.bytes_out += size

    def came_in(self, size: int) -> None:
        """Count a packet of `size` bytes to the inside."""
        self.packets_in += 1
        self.bytes_in += size

    def add(self, other: Tally) -> None:
        """Make this the sum of both."""
        self.packets_out += other.packets_out
        self.bytes_out += other.bytes_out
        self.packets_in += other.packets_in
        self.bytes_in += other.bytes_in
        self.flows += other.flows
        self.misses_answers |= other.misses_answers


class Tallies:
    """All of one run. A tally is made when its rule and policy first apply."""

    def __init__(self) -> None:
        self.former: list[Tally] = []
        """Those of rules that no longer exist: they still count for their policies."""
        self._by_rule: dict[int, dict[Hashable, Tally]] = {}

    def __iter__(self) -> Iterator[Tally]:
        for tallies in self._by_rule.values():
            yield from tallies.values()
        yield from self.former

    def of(self, policy: str, rule: int, *, is_counted_outside: bool = False) -> Tally:
        """The tally of a policy and rule."""
        tallies = self._by_rule.get(rule)
        if tallies is None:
            tallies = self._by_rule[rule] = {}
        key = policy, is_counted_outside
        tally = tallies.get(key)
        if tally is None:
            tally = Tally(policy, rule, is_counted_outside=is_counted_outside)
            tallies[key] = tally
        return tally

    def renumbered(self, numbers: Mapping[int, int]) -> Tallies:
        """The same tallies under the numbers of other rules; `settle` follows when all flows have
        been moved.

        numbers: of the rules that still exist, by their former ones.
        """
        renumbered = Tallies()
        renumbered.former = list(self.former)
        for rule, tallies in self._by_rule.items():
            if rule in numbers:
                renumbered._by_rule[numbers[rule]] = dict(tallies)
            else:
                renumbered.former += tallies.values()
        return renumbered

    def settle(self) -> None:
        """Set the rule number of every tally; merge the former tallies of each policy."""
        for rule, tallies in self._by_rule.items():
            for tally in tallies.values():
                tally.rule = rule
        sums: dict[Hashable, Tally] = {}
        for tally in self.former:
            outside = tally.is_counted_outside
            empty = Tally(tally.policy, 0, is_counted_outside=outside)
            sums.setdefault((tally.policy, outside), empty).add(tally)
        self.former = list(sums.values())

    def rules(self) -> Collection[int]:
        """The numbers of the rules that have a tally."""
        return self._by_rule.keys()

    def of_rule(self, rule: int) -> Collection[Tally]:
        """The tallies of a rule: one for each policy that has applied, or two."""
        return self._by_rule.get(rule, {}).values()
