"""The packets of a trace in the order of time: those of the router, and the answers of the direct
path, which this process captures itself.

An answer belongs to the trace if the router has reported a packet of its flow as sent directly; it
has the decision of that packet.

Always true: nothing waits for longer than HOLD seconds; at most MOST_FLOWS flows and MOST_HELD
captured packets are kept.

Must not know: sockets, how packets are shown.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from typing import Final

from router.flows.report import DIRECT
from router.flows.trace.decision import FORWARD, IN, OUT, Decision, Record
from router.flows.trace.fields import Fields, quoted, read
from router.flows.trace.matching import Filter
from router.platform.base.capture import Captured
from router.wire import icmp

HOLD: Final = 0.3
"""Seconds: longer than the router takes to report a packet, and so an answer is not before it."""
MOST_FLOWS: Final = 4096
MOST_HELD: Final = 8192

Ends = tuple[int, bytes, bytes, int | None, int | None]


class InOrder:
    """captures: whether answers are captured; if not, nothing waits."""

    def __init__(self, wanted: Filter, *, captures: bool) -> None:
        self._wanted = wanted
        self._hold = HOLD if captures else 0.0
        self._direct: dict[Ends, Decision] = {}
        self._unknown: deque[Captured] = deque(maxlen=MOST_HELD)
        self._sorted: list[tuple[float, int, Record]] = []
        self._number = 0

    @property
    def is_waiting(self) -> bool:
        """Whether something is held."""
        return bool(self._sorted or self._unknown)

    def add(self, record: Record) -> None:
        """One that the router has sent."""
        self._push(record)
        decision = record.decision
        is_sent = decision.path == DIRECT and decision.verdict == FORWARD
        fields = read(record.data, 0, len(record.data))
        if record.direction == OUT and is_sent and fields is not None:
            if len(self._direct) >= MOST_FLOWS:
                del self._direct[next(iter(self._direct))]
            self._direct[_ends(fields)] = decision

    def capture(self, captured: Captured) -> None:
        """One that came in."""
        self._unknown.append(captured)

    def ready(self, now: float) -> Iterator[Record]:
        """Those that nothing can precede any more. now: seconds since 1970."""
        for _ in range(len(self._unknown)):
            captured = self._unknown.popleft()
            decision = self._decision_of(captured.data)
            if decision is not None:
                self._push(Record(captured.time, IN, captured.length, captured.data, decision))
            elif captured.time > now - self._hold:
                self._unknown.append(captured)
        while self._sorted and self._sorted[0][0] <= now - self._hold:
            yield heapq.heappop(self._sorted)[-1]

    def _push(self, record: Record) -> None:
        self._number += 1
        heapq.heappush(self._sorted, (record.time, self._number, record))

    def _decision_of(self, data: bytes) -> Decision | None:
        fields = read(data, 0, len(data))
        if fields is None:
            return None
        about = quoted(data, len(data), fields) if fields.is_error else _reversed(fields)
        decision = None if about is None else self._direct.get(_ends(about))
        if decision is None or not self._wanted.matches(data, 0, len(data), decision):
            return None
        return decision


def _ends(fields: Fields) -> Ends:
    return (
        *(fields.protocol, fields.source, fields.destination),
        *(fields.source_port, fields.destination_port),
    )


def _reversed(fields: Fields) -> Fields | None:
    """What it answers; None of a query, which answers nothing."""
    if fields.kind is not None and fields.kind not in icmp.REQUEST_OF[fields.version]:
        return None
    return fields._replace(
        source=fields.destination,
        destination=fields.source,
        source_port=fields.destination_port,
        destination_port=fields.source_port,
    )
