"""A packet that something is being decided about, or that answers it, with the traces it is for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from router.engine.observer.interests import Interest
from router.engine.observer.trace import Trace
from router.flows.trace.decision import Decision, Record
from router.flows.trace.fields import Buffer

SNAP: Final = 512
"""Bytes of a packet that are kept: the answers of DNS without extensions, whole."""


class ObservedPacket:
    """data: its first SNAP bytes or more. length: of all. certain: traces that have room for it;
    uncertain: those that want it by some decisions."""

    __slots__ = ("certain", "data", "direction", "length", "time", "uncertain")

    def __init__(
        self,
        data: Buffer,
        length: int,
        direction: str,
        certain: Sequence[Trace],
        uncertain: Sequence[Trace],
    ) -> None:
        self.data = bytes(data[:SNAP])
        self.length = length
        self.direction = direction
        self.certain = certain
        self.uncertain = uncertain
        self.time = time.time()

    def report(self, decision: Decision) -> None:
        """To the traces that it matches with the decision."""
        record = Record(self.time, self.direction, self.length, self.data, decision)
        for trace in self.certain:
            trace.add(record)
        for trace in self.uncertain:
            wanted = trace.wanted.matches(self.data, 0, len(self.data), decision)
            if wanted and trace.has_room(time.monotonic()):
                trace.add(record)


def with_room(interest: Interest) -> list[Trace]:
    """Those of the certain that make a record of it; the others count it as left out."""
    if not interest.certain:
        return []
    now = time.monotonic()
    return [each for each in interest.certain if each.has_room(now)]
