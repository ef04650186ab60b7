"""Which traces may want a packet, kept by flow: so one that no filter matches costs a look-up.

What the filters say depends on the packet's key, on the rule and policy, and on whether it is
dropped. Rule and policy are those of the flow: they are found out once, and kept until rules,
outbounds or flows may have changed.

Always true: what is kept is forgotten when rules, outbounds or traces change, after LONGEST
seconds, and the oldest where there is more than MOST.

Must not know: how a decision is found out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from router.engine.observer.trace import Trace
from router.flows.trace.decision import Decision
from router.flows.trace.fields import Buffer, Fields, read
from router.flows.trace.keys import Key, has_key, key_of

MOST: Final = 1024
"""Flows of which it is kept."""
LONGEST: Final = 1.0
"""Seconds: a flow may end whose decision was made before the rules changed."""

Possible = Callable[[Fields | None, Buffer, int], Sequence[Decision]]
"""By the fields of a packet, and the buffer that it stands in until where: all decisions that may
be made about such packets, as far as filters can tell them apart."""


class Interest(NamedTuple):
    """certain: traces that want each such packet. uncertain: those that want it by some decisions.
    if_dropped: whether a packet that is not dropped is of no interest to any."""

    certain: Sequence[Trace]
    uncertain: Sequence[Trace]
    if_dropped: bool = False


NONE: Final = Interest((), ())


class Interests:
    """Of the packets that pass one place. traces: those there are at present."""

    def __init__(self, traces: Sequence[Trace], possible: Possible) -> None:
        self.known: OrderedDict[Key | None, Interest] = OrderedDict()
        """By key: read it first, and call `learn` for what is not in it."""
        self._traces = traces
        self._possible = possible

    def of(self, data: Buffer, start: int, end: int) -> Interest:
        """Of the packet in data[start:end]."""
        return self.known.get(key_of(data, start, end)) or self.learn(data, start, end)

    def learn(self, data: Buffer, start: int, end: int) -> Interest:
        """Of the packet in data[start:end], and of those that are like it."""
        fields = read(data, start, end)
        interest = self._interest(fields, data, start, end)
        if fields is not None and not fields.is_error and has_key(fields, start):
            if len(self.known) >= MOST:
                self.known.popitem(last=False)
            self.known[key_of(data, start, end)] = interest
        return interest

    def _interest(self, fields: Fields | None, data: Buffer, start: int, end: int) -> Interest:
        admitting = [each for each in self._traces if each.wanted.may_match(data, start, end)]
        if not admitting:
            return NONE
        certain = [each for each in admitting if not each.wanted.needs_decision]
        uncertain, if_dropped = [], not certain
        if len(certain) < len(admitting):
            decisions = self._possible(fields, data, end)
            for each in admitting:
                if not each.wanted.needs_decision:
                    continue
                matches = each.wanted.matches
                found = [matches(data, start, end, decision) for decision in decisions]
                if all(found):
                    certain.append(each)
                elif any(found):
                    uncertain.append(each)
                passed = (hit for hit, one in zip(found, decisions, strict=True) if not one.reason)
                if_dropped &= not any(passed)
        if not (certain or uncertain):
            return NONE
        return Interest(certain, uncertain, if_dropped)
