"""The packets of a trace in the order of time: those of the router, and the answers of the direct
path, which this process captures itself.

An answer belongs to the trace if the router has reported a packet of its flow as sent directly; it
has the decision of that packet.

Always true: nothing waits for longer than HOLD seconds; at most MOST_FLOWS flows and MOST_HELD
captured packets are kept, and a flow no longer than IDLE seconds after its last packet.

Must not know: sockets, how packets are shown.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Final, NamedTuple

from router.flows.report import DIRECT
from router.flows.trace.decision import FORWARD, IN, OUT, Decision, Record
from router.flows.trace.fields import Fields, quoted, read
from router.flows.trace.matching import Filter
from router.platform.base.capture import Captured
from router.wire import icmp

HOLD: Final = 0.3
"""Seconds: longer than the router takes to report a packet, and so an answer is not before it."""
IDLE: Final = 120.0
"""Seconds: RFC 4787, REQ-5. What comes later on a connection is acknowledged, which makes its flow
known again while it is held."""
MOST_FLOWS: Final = 4096
MOST_HELD: Final = 8192

Ends = tuple[int, bytes, bytes, int | None, int | None]


class _Sent(NamedTuple):
    """What was decided about the packets of a flow, and when the last one was sent or came."""

    decision: Decision
    last: float


class InOrder:
    """captures: whether answers are captured; if not, nothing waits."""

    def __init__(self, wanted: Filter, *, captures: bool) -> None:
        self._wanted = wanted
        self._hold = HOLD if captures else 0.0
        self._direct: OrderedDict[Ends, _Sent] = OrderedDict()
        """The least recent first."""
        self._has_new = False
        self._unknown: deque[tuple[Ends, Captured]] = deque(maxlen=MOST_HELD)
        self._sorted: list[tuple[float, int, Record]] = []
        self._number = 0

    @property
    def is_waiting(self) -> bool:
        """Whether something is held."""
        return bool(self._sorted or self._unknown)

    @property
    def expects_answers(self) -> bool:
        """Whether anything that is captured can belong to the trace at present."""
        return bool(self._direct)

    def add(self, record: Record) -> None:
        """One that the router has sent."""
        self._push(record)
        decision = record.decision
        is_sent = decision.path == DIRECT and decision.verdict == FORWARD
        fields = read(record.data, 0, len(record.data))
        if record.direction == OUT and is_sent and fields is not None:
            ends = _ends(fields)
            self._has_new |= ends not in self._direct
            self._note(ends, _Sent(decision, record.time))

    def capture(self, captured: Captured) -> None:
        """One that came in."""
        ends = _ends_of_answered(captured.data)
        if ends is not None and not self._is_taken(ends, captured):
            self._unknown.append((ends, captured))

    def ready(self, now: float) -> Iterator[Record]:
        """Those that nothing can precede any more. now: seconds since 1970."""
        if self._has_new:
            self._has_new = False
            unknown, self._unknown = self._unknown, deque(maxlen=MOST_HELD)
            self._unknown.extend(each for each in unknown if not self._is_taken(*each))
        while self._unknown and self._unknown[0][1].time <= now - self._hold:
            self._unknown.popleft()
        while self._direct and next(iter(self._direct.values())).last < now - IDLE:
            self._direct.popitem(last=False)
        while self._sorted and self._sorted[0][0] <= now - self._hold:
            yield heapq.heappop(self._sorted)[-1]

    def _push(self, record: Record) -> None:
        self._number += 1
        heapq.heappush(self._sorted, (record.time, self._number, record))

    def _note(self, ends: Ends, sent: _Sent) -> None:
        self._direct[ends] = sent
        self._direct.move_to_end(ends)
        if len(self._direct) > MOST_FLOWS:
            self._direct.popitem(last=False)

    def _is_taken(self, ends: Ends, captured: Captured) -> bool:
        """Whether it belongs to a flow that is known; it is shown then if the filter matches."""
        sent = self._direct.get(ends)
        if sent is None:
            return False
        time, length, data = captured
        self._note(ends, sent._replace(last=max(sent.last, time)))
        if self._wanted.matches(data, 0, len(data), sent.decision):
            self._push(Record(time, IN, length, data, sent.decision))
        return True


def _ends_of_answered(data: bytes) -> Ends | None:
    """Of the packet that one answers, or quotes; None if there can be none."""
    fields = read(data, 0, len(data))
    if fields is None:
        return None
    about = quoted(data, len(data), fields) if fields.is_error else _reversed(fields)
    return None if about is None else _ends(about)


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
