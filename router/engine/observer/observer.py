"""Observes packets for those who trace: what comes from the TUN, what goes into it, and drops.

Theory of operation. The hook is called with a packet before anything is decided about it; what
happens until the next call (drops, writes into the TUN) is what became of it. A packet that is
dropped and in whose stead the router writes one has been rejected.

Always true: nothing is hooked unless somebody traces; a packet that no filter can match costs the
filters and nothing else; no packet is changed or kept waiting.

Must not know: rules, sockets, who traces.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from router.engine.forwarder import Forwarder
from router.engine.observer.decisions import Decisions
from router.engine.observer.trace import Trace
from router.engine.tun_writer import TunWriter
from router.flows.drops import Drop
from router.flows.trace.decision import DROP, FORWARD, IN, OUT, REJECT, REPLY, Decision, Record
from router.flows.trace.fields import Buffer, Fields, quoted, read
from router.wire.offload import HEADER

SNAP: Final = 512
"""Bytes of a packet that are kept: the answers of DNS without extensions, whole."""


class _Packet:
    """One that something is being decided about, or that answers it."""

    __slots__ = ("data", "direction", "length", "time", "traces")

    def __init__(
        self, data: Buffer, start: int, end: int, direction: str, traces: Sequence[Trace]
    ) -> None:
        self.data = bytes(memoryview(data)[start : min(end, start + SNAP)])
        self.length = end - start
        self.direction = direction
        self.traces = traces
        self.time = time.time()

    def report(self, decision: Decision) -> None:
        """To the traces that it matches with the decision."""
        for trace in self.traces:
            wanted = trace.wanted
            if wanted.needs_decision:
                if not wanted.matches(self.data, 0, len(self.data), decision):
                    continue
                if not trace.has_room(time.monotonic()):
                    continue
            trace.add(Record(self.time, self.direction, self.length, self.data, decision))


class Observer:
    """Hooks itself into a forwarder and its writer while there are traces."""

    def __init__(self, forwarder: Forwarder, writer: TunWriter) -> None:
        self._forwarder = forwarder
        self._writer = writer
        self._decisions = Decisions(forwarder)
        self._traces: list[Trace] = []
        self._in_hand = False
        self._pending: _Packet | None = None
        self._reason: Drop | None = None
        self._replies = 0
        self._answers: list[_Packet] = []

    def add(self, trace: Trace) -> None:
        """Trace from now on."""
        self._traces.append(trace)
        if len(self._traces) == 1:
            self._forwarder.observer = self
            self._forwarder.drops.observe = self._dropped
            self._writer.observe(self._written)

    def remove(self, trace: Trace) -> None:
        self._traces.remove(trace)
        if not self._traces:
            self._forget()
            self._forwarder.observer = None
            self._forwarder.drops.observe = None
            self._writer.observe(None)

    def from_tun(self, frame: bytearray, size: int) -> None:
        """See Observing."""
        self._outgoing(frame, HEADER, size)

    def postpone(self) -> None:
        """See Observing."""
        self._forget()

    def resume(self, packet: bytes) -> None:
        """See Observing."""
        self._outgoing(packet, 0, len(packet))

    def _outgoing(self, data: Buffer, start: int, end: int) -> None:
        if self._in_hand:
            self.settle()
        traces = self._matching(data, start, end)
        if not traces:
            return
        fields = read(data, start, end)
        if fields is not None and self._decisions.is_between_us(fields, written=False):
            return
        traces = _with_room(traces)
        if traces:
            self._take(_Packet(data, start, end, OUT, traces))

    def from_outside(self, packet: bytes) -> None:
        """See Observing. Only its drop is reported: what is delivered is seen as it is written."""
        if self._in_hand:
            self.settle()
        traces = self._matching(packet, 0, len(packet))
        if traces:
            self._take(_Packet(packet, 0, len(packet), IN, traces))

    def settle(self) -> None:
        """See Observing."""
        pending = self._pending
        if pending is not None:
            if pending.direction == OUT:
                self._settle_outgoing(pending)
            elif self._reason is not None:
                pending.traces = _with_room(pending.traces)
                pending.report(Decision(DROP, self._reason.value))
        self._forget()

    def _settle_outgoing(self, pending: _Packet) -> None:
        reason = None if self._reason is None else self._reason.value
        replied = self._forwarder.refusals.replies > self._replies
        if reason is not None:
            verdict = REJECT if self._answers else DROP
        else:
            verdict = REPLY if replied else FORWARD
        decision = self._decide(pending.data, verdict, reason)
        pending.report(decision)
        for answer in self._answers:
            answer.report(decision._replace(verdict=REPLY, reason=None))

    def _decide(self, data: bytes, verdict: str, reason: str | None) -> Decision:
        fields = read(data, 0, len(data))
        if fields is None:
            return Decision(verdict, reason)
        return self._decisions.of_outgoing(fields, verdict, reason)

    def _take(self, packet: _Packet) -> None:
        self._in_hand = True
        self._pending = packet
        self._reason = None
        self._replies = self._forwarder.refusals.replies

    def _forget(self) -> None:
        self._in_hand = False
        self._pending = self._reason = None
        self._answers.clear()

    def _dropped(self, reason: Drop) -> None:
        if self._pending is not None and self._reason is None:
            self._reason = reason

    def _written(self, data: bytes | bytearray, start: int, end: int) -> None:
        """A packet goes into the TUN: an answer, or one on its way to our own kernel."""
        is_own = self._is_answering()
        traces = self._matching(data, start, end)
        fields = read(data, start, end) if traces else None
        if is_own:
            self._answers.append(_Packet(data, start, end, IN, _with_room(traces)))
        elif fields is not None:
            about = quoted(data, end, fields) if fields.is_error else None
            if not self._is_hidden(fields, about) and (traces := _with_room(traces)):
                decision = self._decisions.of_answer(fields, about)
                _Packet(data, start, end, IN, traces).report(decision)

    def _is_answering(self) -> bool:
        """Whether the router itself answers the packet in hand."""
        if self._pending is None or self._pending.direction == IN:
            return False
        return self._reason is not None or self._forwarder.refusals.replies > self._replies

    def _is_hidden(self, fields: Fields, about: Fields | None) -> bool:
        if about is not None:
            return self._decisions.is_between_us(about, written=False)
        return self._decisions.is_between_us(fields, written=True)

    def _matching(self, data: Buffer, start: int, end: int) -> list[Trace]:
        return [each for each in self._traces if each.wanted.may_match(data, start, end)]


def _with_room(traces: Sequence[Trace]) -> list[Trace]:
    """Those that make a record of it, as far as that is known before the decision is."""
    now = time.monotonic()
    return [each for each in traces if each.wanted.needs_decision or each.has_room(now)]
