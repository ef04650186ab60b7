"""Flows whose packets leave directly, and past the observer: a packet that no trace wants costs
what it costs without one.

Of packets with the same addresses, or else the same key, each of which no trace wants unless it is
dropped. What the direct path cannot send it reports (DirectPath.failing), so no drop is missed.

Always true: what is kept is forgotten when that of router.engine.observer.interests is.

Must not know: how a decision is made.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Final

from router.engine.direct.flow import DirectFlow, pair_of
from router.engine.direct.path import DirectPath
from router.engine.observer.trace import Trace
from router.flows.trace.fields import Fields, read
from router.flows.trace.keys import has_key, key_of
from router.flows.trace.simplified import NOTHING, of_forwarded, of_pair
from router.wire.offload import HEADER

MOST: Final = 1024
"""Of each kind; beyond it packets are observed."""


class UnobservedFlows:
    """traces: those there are at present. carry_all: see Observing."""

    def __init__(self, traces: Sequence[Trace], path: DirectPath) -> None:
        self.by_pair: dict[Hashable, DirectFlow] = {}
        self.by_key: dict[Hashable, DirectFlow] = {}
        self._traces = traces
        self._path = path
        self.carry_all = path.carrier(self.by_pair, self.by_key, self._known_by_key)

    def learn(self, frame: bytearray, size: int) -> None:
        """Of a frame that has left directly, and that no trace wants."""
        fields, flow = read(frame, HEADER, size), self._path.known(frame, size)
        if fields is None or flow is None:
            return
        if self._is_decided_by_addresses(fields):
            if len(self.by_pair) < MOST:
                self.by_pair[pair_of(fields)] = flow
        elif len(self.by_key) < MOST and not fields.is_error and has_key(fields, HEADER):
            self.by_key[key_of(frame, HEADER, size)] = flow

    def clear(self) -> None:
        self.by_pair.clear()
        self.by_key.clear()

    def _is_decided_by_addresses(self, fields: Fields) -> bool:
        """Whether no trace wants what leaves directly between these, whatever it is."""
        flow = self._path.flow_between(pair_of(fields))
        if flow is None:
            return False
        decided = None if flow.outbound is None else (flow.tally.policy, flow.tally.rule)
        return all(
            of_pair(of_forwarded(each.wanted.tree), fields, decided) == NOTHING
            for each in self._traces
        )

    def _known_by_key(self, frame: bytearray, size: int) -> DirectFlow | None:
        return self.by_key.get(key_of(frame, HEADER, size))
