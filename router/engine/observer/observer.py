"""Observes packets for traces: what comes from the TUN, what goes into it, and drops.

Theory of operation. The hook is called with a packet before anything is decided about it; what
happens until the next call (drops, writes into the TUN) is what became of it. A packet that is
dropped and in whose stead the router writes one has been rejected. What is wanted only if it is
dropped is held, and becomes the packet in hand with its drop; where all traces want only that, no
filter is evaluated before. Of what leaves directly, packets that no trace wants unless they are
dropped do not come here (router.engine.observer.unobserved), but with their drop.

Always true: nothing is hooked while there is no trace; another packet that no filter can match
costs a look-up by its flow; no packet is changed or kept waiting.

Must not know: rules, sockets, who reads a trace.
"""

from __future__ import annotations

from router.engine.forwarder import Forwarder
from router.engine.observer.answering import answered_by
from router.engine.observer.decisions import Decisions
from router.engine.observer.interests import LONGEST, NONE, Interest, Interests
from router.engine.observer.packet import SNAP, ObservedPacket, with_room
from router.engine.observer.trace import Trace
from router.engine.observer.unobserved import UnobservedFlows
from router.engine.tun_writer import TunWriter
from router.flows.drops import Drop
from router.flows.trace.decision import DROP, FORWARD, IN, OUT, REJECT, REPLY, Decision
from router.flows.trace.fields import Buffer, Fields, quoted, read
from router.flows.trace.keys import key_of
from router.flows.trace.simplified import NOTHING, of_forwarded
from router.wire import tcp
from router.wire.offload import HEADER


class Observer:
    """Hooks itself into a forwarder and its writer while there are traces."""

    def __init__(self, forwarder: Forwarder, writer: TunWriter) -> None:
        self._forwarder = forwarder
        self._writer = writer
        self._decisions = Decisions(forwarder)
        self._traces: list[Trace] = []
        decisions = self._decisions
        self._sent = Interests(self._traces, decisions.possible_of_outgoing)
        self._known_sent = self._sent.known
        self._unobserved = UnobservedFlows(self._traces, forwarder.direct.path)
        self.carry_all = self._unobserved.carry_all
        self.left_directly = self._unobserved.learn
        self._received = Interests(self._traces, decisions.possible_of_stray)
        self._delivered = Interests(self._traces, decisions.possible_of_answer)
        self._due = 0.0
        self._pending: ObservedPacket | None = None
        self._held: tuple[bytes, int, str] | None = None
        """Its first bytes, its length, its direction."""
        self._only_dropped = False
        """Whether no trace wants a packet that is not dropped."""
        self._reason: Drop | None = None
        self._replies = 0
        self._answers: list[ObservedPacket] = []

    def add(self, trace: Trace) -> None:
        """Trace from now on."""
        self._traces.append(trace)
        self._note_traces()
        if len(self._traces) == 1:
            self._forwarder.observer = self
            self._forwarder.drops.observe = self._dropped
            self._forwarder.direct.forgotten = self._changed
            self._forwarder.direct.path.failing = self._failing
            self._writer.observe(self._written)
        self._forwarder.carriers.streams.observe(self._is_connection_wanted)
        self._forwarder.direct.path.forwarded.observe(self._is_wanted)

    def remove(self, trace: Trace) -> None:
        self._traces.remove(trace)
        self._note_traces()
        if not self._traces:
            self._forget()
            self._forwarder.observer = None
            self._forwarder.carriers.streams.observe(None)
            self._forwarder.direct.path.forwarded.observe(None)
            self._forwarder.drops.observe = None
            self._forwarder.direct.forgotten = None
            self._forwarder.direct.path.failing = None
            self._writer.observe(None)

    def answered_by(self, trace: Trace) -> frozenset[int] | None:
        """By which interfaces answers may come that belong to a trace and never pass the router;
        None: by any."""
        return answered_by(trace.wanted.tree, self._forwarder)

    def from_tun(self, frame: bytearray, size: int) -> bool:
        """See Observing."""
        if self._pending is not None:
            self._finish()
        if self._only_dropped:
            self._hold(frame, HEADER, size)
            return False
        interest = self._known_sent.get(key_of(frame, HEADER, size))
        if interest is None:
            interest = self._sent.learn(frame, HEADER, size)
        if interest is NONE:
            self._held = None
            return False
        if interest.if_dropped:
            self._hold(frame, HEADER, size)
            return False
        self._outgoing(interest, frame, HEADER, size)
        return True

    def _is_wanted(self, frame: bytearray, size: int) -> bool:
        """Whether a trace wants packets like that in a frame, though they are not dropped."""
        if self._only_dropped:
            return False
        interest = self._sent.of(frame, HEADER, size)
        return interest is not NONE and not interest.if_dropped

    def _is_connection_wanted(self, key: bytes) -> bool:
        """The same of the segments with these addresses and ports."""
        segment = tcp.bare(key)
        return self._is_wanted(bytearray(HEADER) + segment, HEADER + len(segment))

    def postpone(self) -> None:
        """See Observing."""
        self._forget()

    def resume(self, packet: bytes) -> None:
        """See Observing."""
        self._finish()
        interest = self._sent.learn(packet, 0, len(packet))
        if interest is not NONE:
            self._outgoing(interest, packet, 0, len(packet))

    def from_outside(self, packet: bytes) -> None:
        """See Observing. Only its drop is reported: what is delivered is seen as it is written."""
        self._finish()
        self._held = packet[:SNAP], len(packet), IN

    def settle(self, now: float) -> None:
        """See Observing."""
        if self._pending is not None:
            self._finish()
        self._held = None
        if now >= self._due:
            self._due = now + LONGEST
            self._forget_interests()

    def _hold(self, data: Buffer, start: int, end: int) -> None:
        self._held = bytes(data[start : min(end, start + SNAP)]), end - start, OUT

    def _outgoing(self, interest: Interest, data: Buffer, start: int, end: int) -> None:
        self._held = None
        fields = read(data, start, end)
        if fields is not None and self._decisions.is_between_us(fields, written=False):
            return
        certain = with_room(interest)
        if certain or interest.uncertain:
            data = data[start : min(end, start + SNAP)]
            self._take(ObservedPacket(data, end - start, OUT, certain, interest.uncertain))

    def _take(self, packet: ObservedPacket) -> None:
        self._pending = packet
        self._replies = self._forwarder.refusals.replies

    def _take_held(self) -> None:
        """What was held is dropped."""
        assert self._held is not None
        (data, length, direction), self._held = self._held, None
        interests = self._sent if direction == OUT else self._received
        interest = interests.of(data, 0, len(data))
        if interest is NONE:
            return
        fields = read(data, 0, len(data)) if direction == OUT else None
        if fields is None or not self._decisions.is_between_us(fields, written=False):
            certain = with_room(interest)
            self._take(ObservedPacket(data, length, direction, certain, interest.uncertain))

    def _finish(self) -> None:
        """All is decided about the packet in hand."""
        pending = self._pending
        if pending is not None:
            if pending.direction == OUT:
                self._finish_outgoing(pending)
            elif self._reason is not None:
                pending.report(Decision(DROP, self._reason.value))
        self._forget()

    def _finish_outgoing(self, pending: ObservedPacket) -> None:
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

    def _forget(self) -> None:
        self._pending = self._reason = self._held = None
        if self._answers:
            self._answers.clear()

    def _changed(self) -> None:
        """Rules or outbounds have changed."""
        self._forget_interests()
        for trace in self._traces:
            trace.note_change()

    def _note_traces(self) -> None:
        """Traces have changed."""
        self._forget_interests()
        self._only_dropped = all(of_forwarded(each.wanted.tree) == NOTHING for each in self._traces)

    def _forget_interests(self) -> None:
        """Rules, outbounds or traces have changed."""
        for each in (self._sent, self._received, self._delivered):
            each.known.clear()
        self._unobserved.clear()

    def _dropped(self, reason: Drop) -> None:
        if self._held is not None:
            self._take_held()
        if self._pending is not None and self._reason is None:
            self._reason = reason

    def _failing(self, data: bytes) -> None:
        """The direct path cannot send a packet: the one in hand, unless that is of another flow or
        dropped already."""
        in_hand = self._in_hand()
        if self._reason is None and in_hand is not None and _are_alike(in_hand, data):
            return
        self._finish()
        self._hold(data, 0, len(data))

    def _in_hand(self) -> bytes | None:
        if self._pending is not None:
            return self._pending.data
        return None if self._held is None else self._held[0]

    def _written(self, data: bytes | bytearray, start: int, end: int) -> None:
        """A packet goes into the TUN: an answer, or one on its way to our own kernel."""
        if self._is_answering():
            self._answer_in_hand(data, start, end)
            return
        interest = NONE if self._only_dropped else self._delivered.of(data, start, end)
        if interest is NONE:
            return
        fields = read(data, start, end)
        if fields is None:
            return
        about = quoted(data, end, fields) if fields.is_error else None
        if not self._is_hidden(fields, about) and (certain := with_room(interest)):
            data = data[start : min(end, start + SNAP)]
            packet = ObservedPacket(data, end - start, IN, certain, ())
            packet.report(self._decisions.of_answer(fields, about))

    def _answer_in_hand(self, data: Buffer, start: int, end: int) -> None:
        """The router itself answers the packet in hand: its decision is the answer's."""
        traces = [each for each in self._traces if each.wanted.may_match(data, start, end)]
        certain = with_room(
            Interest([each for each in traces if not each.wanted.needs_decision], ())
        )
        uncertain = [each for each in traces if each.wanted.needs_decision]
        data = data[start : min(end, start + SNAP)]
        self._answers.append(ObservedPacket(data, end - start, IN, certain, uncertain))

    def _is_answering(self) -> bool:
        """Whether the router itself answers the packet in hand."""
        if self._pending is None or self._pending.direction == IN:
            return False
        return self._reason is not None or self._forwarder.refusals.replies > self._replies

    def _is_hidden(self, fields: Fields, about: Fields | None) -> bool:
        if about is not None:
            return self._decisions.is_between_us(about, written=False)
        return self._decisions.is_between_us(fields, written=True)


def _are_alike(first: bytes, second: bytes) -> bool:
    """Whether both are of one flow, as far as keys tell."""
    return key_of(first, 0, len(first)) == key_of(second, 0, len(second))
