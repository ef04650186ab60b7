"""TCP flows: an application's connection, and the connection to a listener of ours that it becomes.

Theory of operation. An application's segments are found by the key of the flow: its address and
port, and those of its destination. Once the outbound has connected, the flow gets an *alias*: the
address and port that our own kernel has the connection from, and one of our listeners, which it is
to. A flow then has two rewrites: a segment of the application becomes one from the alias to the
listener, and a segment of the kernel to the alias becomes one from the application's destination.

What may be done in a state:

    DIALLING    the outbound is connecting. The request is kept; retransmissions of it only show
                that the application still waits. Nothing is sent to it but a refusal.
    OPENING     connected; the request went to the listener. Both rewrites work. Only a flow in
                this state may be accepted, once, by its alias. Our kernel answers at once, unless
                this machine's firewall keeps the request from it.
    RELAYED     accepted. The sockets decide when it ends; segments of any kind only pass. Only when
                our kernel has ended the inner one and the application sends a new request is the
                flow ended before its sockets; its relay finishes by itself.
    LINGERING   our sockets are closed, the kernel may still be sending what they left. Both
                rewrites work until a reset, or for as long as TIME_WAIT lasts after both FINs, or
                until nothing has passed for TRANSITORY seconds. It makes room for any new flow.

Always true: at most `limit` flows are in the first three states and at most `limit` linger; of
those and of the HALF_OPEN that are DIALLING or OPENING each source has a share
(router.flows.shares); an alias belongs to one flow, and the one that is assigned is the one that
was used the longest time ago; every operation on a packet costs the logarithm of what is held, or
less; an established flow is never ended for being idle less than ESTABLISHED seconds
(RFC 5382 REQ-5), and after that only to make room. The table holds the flows that do not linger:
those that linger are neither counted, listed nor re-evaluated.

Must not know: packets as a whole, sockets, rules. Time is an argument, in seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from sys import maxsize
from typing import Final

from router.flows import flow as common
from router.flows.expiry import EVERY, NEVER, ExpiryQueue
from router.flows.flow import OutboundT
from router.flows.nat.rewrite import Rewrite
from router.flows.numbers import NONE_LEFT, NumberQueue
from router.flows.shares import Shares
from router.flows.tally import Tally
from router.wire import ip

ALIAS_PORTS: Final = range(1024, 65536)
TRANSITORY: Final = 240.0
"""RFC 5382 REQ-5 requires 4 minutes at least."""
ESTABLISHED: Final = 7440.0
"""RFC 5382 REQ-5 requires 2 hours 4 minutes at least."""
TIME_WAIT: Final = 60.0
"""Seconds for which Linux keeps a closed connection (TCP_TIMEWAIT_LEN)."""
FIRST_PATIENCE: Final = 4.0
"""Seconds for the second request; the first comes after one (RFC 6298), or three (RFC 1122)."""
HALF_OPEN: Final = 4096
"""Flows that are not relayed yet, at most."""
CROWDED_TRANSITORY: Final = 10.0
"""Seconds in each of the first two states when many flows are in them: enough for three requests
by RFC 6298. Less than REQ-5 allows, which is for a NAT that has room."""
MOST_LOOKS: Final = 32
"""Flows of which a request looks whether they have been idle for long enough."""
BOTH_FINS: Final = 3
PATIENCE_FACTOR: Final = 2.5
"""Requests are repeated at intervals that double at most."""


class State(Enum):
    """See the table above."""

    DIALLING = "dialling"
    OPENING = "opening"
    RELAYED = "relayed"
    LINGERING = "lingering"


class Flow(common.Flow[OutboundT]):
    """One connection.

    key         source, destination and both ports of the application's segments
    request     its SYN, a whole packet; empty once accepted
    sequence    the sequence number of that
    alias       source, destination and both ports of the segments to the listener
    answer_key  the same of the listener's segments
    fins        1 if the application has sent a FIN, plus 2 if the listener has
    traffic_class   of the application's last segment; set by the code that forwards
    unanswered      requests that went to the listener since its last answer; likewise
    asked           the table's `emptied` when the last of these went there
    since           when it got into its state, of the first two
    number          that of its alias
    """

    __slots__ = (
        "_half_open",
        "alias",
        "answer_key",
        "asked",
        "due",
        "fins",
        "interval",
        "last",
        "number",
        "outbound",
        "request",
        "sequence",
        "since",
        "state",
        "traffic_class",
        "unanswered",
    )

    last: float
    outbound: OutboundT

    def __init__(
        self,
        key: bytes,
        request: bytes,
        sequence: int,
        outbound: OutboundT,
        tally: Tally,
        now: float,
        half_open: Shares,
    ) -> None:
        super().__init__(key, tally, now)
        self._half_open = half_open
        self.since = now
        self.number = NONE_LEFT
        self.request = request
        self.sequence = sequence
        self.outbound = outbound
        self.state = State.DIALLING
        self.last = now
        self.due = NEVER
        self.interval = 0.0
        self.alias = b""
        self.answer_key = b""
        self.fins = 0
        self.traffic_class = self.unanswered = self.asked = 0

    @property
    def protocol(self) -> int:
        return ip.TCP

    @property
    def source_port(self) -> int:
        return int.from_bytes(self.key[-4:-2], "big")

    @property
    def destination_port(self) -> int:
        return int.from_bytes(self.key[-2:], "big")

    @property
    def after_request(self) -> int:
        """The sequence number of a reset by which the application gives up once it has a reply."""
        return (self.sequence + 1) & 0xFFFFFFFF

    def repeated(self, now: float) -> None:
        """Note that the application has retransmitted its request."""
        self.interval = max(self.interval, now - self.last)
        self.last = now

    def expires(self, now: float) -> float:
        """See router.flows.expiry. A flow that dials expires when the application would have
        retransmitted its request if it were still waiting; of an established flow, this is when it
        may be ended to make room. A FIN can bring the end of one that lingers forward to TIME_WAIT
        seconds from now, and a crowd that of one that is not established to CROWDED_TRANSITORY."""
        match self.state:
            case State.DIALLING:
                patience = max(FIRST_PATIENCE, self.interval * PATIENCE_FACTOR)
                return self._in_a_crowd(self.last + patience, now)
            case State.OPENING:
                return self._in_a_crowd(self.last + TRANSITORY, now)
            case State.RELAYED:
                return self.last + ESTABLISHED
            case State.LINGERING if self.fins == BOTH_FINS:
                return self.last + TIME_WAIT
            case State.LINGERING:
                return min(self.last + TRANSITORY, now + TIME_WAIT)

    def _in_a_crowd(self, otherwise: float, now: float) -> float:
        if self._half_open.is_crowded:
            return min(otherwise, self.since + CROWDED_TRANSITORY)
        return min(otherwise, now + CROWDED_TRANSITORY)


class FlowTable(common.FlowTable[OutboundT, Flow[OutboundT]]):
    """The flows of both families.

    limit: see above.
    peers: by IP version, the address that aliases have.
    listeners: by IP version, the addresses and ports of our listeners, 6 or 18 bytes each; a family
    of which the TUN has no address has none, and its flows are refused.
    emptied: how often everything that was in the TUN has been read.
    """

    def __init__(
        self, limit: int, peers: Mapping[int, bytes], listeners: Mapping[int, Sequence[bytes]]
    ) -> None:
        super().__init__()
        self.limit = limit
        self.emptied = 0
        self.rewrites: dict[bytes, Rewrite[Flow[OutboundT]]] = {}
        self._peers = peers
        self._listeners = listeners
        self.shares, self.half_open = Shares(), Shares()
        self._lingering: OrderedDict[bytes, Flow[OutboundT]] = OrderedDict()
        self._idle: OrderedDict[Flow[OutboundT], None] = OrderedDict()
        self._expiry: ExpiryQueue[Flow[OutboundT]] = ExpiryQueue()
        self._numbers = {
            version: NumberQueue(len(ALIAS_PORTS) * len(each))
            for version, each in listeners.items()
        }

    def has_room(self, source: bytes, free: int = maxsize) -> bool:
        """Whether there may be one flow more of a source. free: for how many more there is what
        they need at present, whatever `limit` says."""
        free = min(free, self.limit - len(self))
        return self.shares.admits(source, free) and self.half_open.admits(
            source, HALF_OPEN - self.half_open.total
        )

    def count_emptied(self) -> None:
        """Everything that was in the TUN has been read."""
        self.emptied += 1

    def begin(
        self,
        key: bytes,
        request: bytes,
        sequence: int,
        outbound: OutboundT,
        tally: Tally,
        now: float,
    ) -> Flow[OutboundT]:
        """A new flow, DIALLING. The table must not be full; a lingering flow of that key ends."""
        former = self._lingering.get(key)
        if former is not None:
            self.end(former)
        flow = Flow(key, request, sequence, outbound, tally, now, self.half_open)
        self._insert(flow)
        self.shares.take(flow.source)
        self.half_open.take(flow.source)
        self._expiry.schedule(flow, now)
        return flow

    def connected(self, flow: Flow[OutboundT], now: float) -> Rewrite[Flow[OutboundT]] | None:
        """DIALLING → OPENING: what turns its request into one to the listener; None when there is
        no alias left."""
        alias = self._assign_alias(flow)
        if alias is None:
            return None
        flow.state = State.OPENING
        flow.last = flow.since = now
        flow.asked = self.emptied
        flow.alias = alias
        flow.answer_key = mirrored(alias)
        inward = Rewrite(flow, False, flow.key, alias)
        self.rewrites[flow.key] = inward
        self.rewrites[flow.answer_key] = Rewrite(flow, True, flow.answer_key, mirrored(flow.key))
        return inward

    def accepted(self, alias: bytes) -> Flow[OutboundT] | None:
        """OPENING → RELAYED: the flow whose alias has connected to a listener; None if there is no
        such flow in that state."""
        rewrite = self.rewrites.get(mirrored(alias))
        if rewrite is None or not rewrite.outward:
            return None
        flow = rewrite.owner
        if flow.state is not State.OPENING:
            return None
        flow.state = State.RELAYED
        flow.request = b""
        self.half_open.give_back(flow.source)
        return flow

    def linger(self, flow: Flow[OutboundT], now: float) -> None:
        """RELAYED → LINGERING: our sockets are closed. One that has ended stays so."""
        if self.by_inside.get(flow.key) is not flow:
            return
        if len(self._lingering) >= self.limit:
            self.end(next(iter(self._lingering.values())))
        self._leave(flow)
        flow.state = State.LINGERING
        flow.last = now
        self._lingering[flow.key] = flow
        self._expiry.schedule(flow, now)

    def end(self, flow: Flow[OutboundT]) -> None:
        """End a flow, whatever its state; one that has ended stays so. The caller has closed its
        sockets."""
        if self.by_inside.get(flow.key) is flow:
            self._leave(flow)
        elif self._lingering.get(flow.key) is flow:
            del self._lingering[flow.key]
        else:
            return
        self._expiry.cancel(flow)
        self.rewrites.pop(flow.key, None)
        self.rewrites.pop(flow.answer_key, None)
        if flow.number != NONE_LEFT:
            self._numbers[flow.version].give_back(flow.number)
            flow.number = NONE_LEFT

    def idle_longest(self, now: float) -> Flow[OutboundT] | None:
        """The relayed flow that may be ended to make room, as far as `expired` has found it; None
        if it is not among the first MOST_LOOKS."""
        for _ in range(min(MOST_LOOKS, len(self._idle))):
            flow = next(iter(self._idle))
            if flow.expires(now) <= now:
                return flow
            del self._idle[flow]  # it has been used meanwhile
            self._expiry.schedule(flow, now)
        return None

    def expired(self, now: float, most: int = EVERY) -> Iterator[Flow[OutboundT]]:
        """The flows that did not get established in time: the caller closes their sockets and ends
        them. Those that lingered are ended here. `most` are looked at."""
        for flow in self._expiry.expired(now, most):
            if flow.state is State.RELAYED:
                self._idle[flow] = None
            elif flow.state is State.LINGERING:
                self.end(flow)
            else:
                yield flow

    def has_due(self, now: float) -> bool:
        """Whether `expired` has more to look at."""
        return self._expiry.has_due(now)

    def _leave(self, flow: Flow[OutboundT]) -> None:
        """It leaves the states that count."""
        self._delete(flow)
        self._idle.pop(flow, None)
        self.shares.give_back(flow.source)
        if flow.state is not State.RELAYED:
            self.half_open.give_back(flow.source)

    def _assign_alias(self, flow: Flow[OutboundT]) -> bytes | None:
        version = flow.version
        numbers = self._numbers.get(version)
        number = NONE_LEFT if numbers is None else numbers.take()
        if number == NONE_LEFT:
            return None
        flow.number = number
        index, port = divmod(number, len(ALIAS_PORTS))
        listener = self._listeners[version][index]
        ports = ALIAS_PORTS[port].to_bytes(2, "big") + listener[-2:]
        return self._peers[version] + listener[:-2] + ports


def source_of(key: bytes) -> bytes:
    """Source address of the segments of a key."""
    return key[: (len(key) - 4) // 2]


def mirrored(key: bytes) -> bytes:
    """The key of the segments in the other direction."""
    size = (len(key) - 4) // 2
    return key[size : 2 * size] + key[:size] + key[-2:] + key[-4:-2]
