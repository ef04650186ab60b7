"""Packets that belong to no flow: which go on at once, which wait, which are dropped.

Must not know: what becomes of a packet that goes on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sized

from router.flows.drops import Drop, Drops
from router.flows.policer import Admission, Policer
from router.flows.shares import source_of
from router.flows.waiting import WaitingPackets
from router.wire import ip


class Admissions:
    """Of all sources. waiting: true while packets wait."""

    def __init__(self, drops: Drops) -> None:
        self.policer = Policer()
        self._waiting = WaitingPackets()
        self.waiting: Sized = self._waiting.queue
        self._drops = drops

    def admit(self, packet: ip.Packet, now: float) -> Admission:
        """Whether it goes on now; otherwise it has been kept, or dropped and counted."""
        admission = self.policer.admission(source_of(packet.source), now)
        if admission is Admission.LATER and not self._waiting.add(packet, now):
            admission = Admission.REFUSED
        if admission is Admission.REFUSED:
            self._drops.count(Drop.HELD_OFF)
        return admission

    def due(self, now: float, most: int) -> Iterator[ip.Packet]:
        """Packets that have waited, and go on now; `most` of them."""
        for _ in range(min(most, len(self.waiting))):
            packet = self._waiting.take(now)
            if packet is None:
                self._drops.count(Drop.HELD_OFF)
            else:
                yield packet
