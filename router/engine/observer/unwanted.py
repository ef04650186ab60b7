"""Pairs of addresses between which no trace wants a packet, whatever it is: a look-up by the
addresses alone costs a third of one by the flow (router.engine.observer.interests).

Always true: what is kept is forgotten when that of the flows is.

Must not know: how a decision is made.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Final

from router.engine.direct.flow import pair_of
from router.engine.observer.trace import Trace
from router.flows.tally import Tally
from router.flows.trace.fields import Fields
from router.flows.trace.simplified import NOTHING, of_pair

MOST: Final = 1024
"""Pairs; beyond it packets are looked up by their flow."""

TallyBetween = Callable[[Hashable], Tally | None]
"""By a pair, see router.engine.direct.flow.pair_of: the one that all packets of it count for, as
they have one decision; None where that is not known."""


class UnwantedPairs:
    """traces: those there are at present."""

    def __init__(self, traces: Sequence[Trace], tally_between: TallyBetween) -> None:
        self.known: set[Hashable] = set()
        """Look here first."""
        self._traces = traces
        self._tally_between = tally_between

    def learn(self, fields: Fields) -> None:
        """Of a packet that no trace wants: whether that is so because of its addresses."""
        pair = pair_of(fields)
        tally = self._tally_between(pair)
        decided = None if tally is None else (tally.policy, tally.rule)
        if len(self.known) < MOST and all(
            of_pair(each.wanted.tree, fields, decided) == NOTHING for each in self._traces
        ):
            self.known.add(pair)
