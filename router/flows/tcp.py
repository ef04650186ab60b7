"""TCP flows: which connection of an application is which connection of ours.

Theory of operation. An application's segments are found by `inside key`: its address and port, and
the ones it wants to reach. Once the way out has connected, the flow gets an *alias*: an address
and port that our own kernel believes to have a connection from, and one of our listeners that it
believes it is to. A flow then has two rewrites: what the application sends becomes what the alias
sends to the listener, and what the kernel answers the alias comes from whom the application asked.

What may be done in a state:

    DIALLING    the way out is connecting. The request is kept; repetitions of it only show that
                the application still waits. Nothing is sent to it but a refusal.
    OPENING     connected; the request went to the listener. Both rewrites work. Only a flow in
                this state may be accepted, once, by its alias.
    RELAYED     accepted. The sockets decide when it ends; segments of any kind only pass. Only when
                our kernel has ended the inner one and the application asks anew is the flow ended
                while the sockets still are; its relay finishes by itself.
    LINGERING   our sockets are closed, the kernel may still be sending what they left. Both
                rewrites work until a reset, or for as long as TIME_WAIT lasts after both FINs, or
                until nothing has passed for TRANSITORY seconds. It makes room for any new flow.

Always true: at most `limit` flows are in the first three states and at most `limit` linger; an
alias belongs to one flow; aliases are handed out in turn, so that one is used again as late as
possible; an established flow is never ended for being idle less than ESTABLISHED seconds
(RFC 5382 REQ-5), and after that only to make room.

Must not know: packets as a whole, sockets, rules. Time is an argument, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Final, Generic, TypeVar

from router.flows.nat.rewrite import Rewrite
from router.flows.tally import Tally

ALIAS_PORTS: Final = range(1024, 65536)
TRANSITORY: Final = 240.0
"""RFC 5382 REQ-5 asks for 4 minutes at least."""
ESTABLISHED: Final = 7440.0
"""RFC 5382 REQ-5 asks for 2 hours 4 minutes at least."""
TIME_WAIT: Final = 60.0
"""Seconds for which Linux keeps a closed connection (TCP_TIMEWAIT_LEN)."""
FIRST_PATIENCE: Final = 4.0
"""Seconds for the second request; the first comes after one (RFC 6298), or three (RFC 1122)."""
PATIENCE_FACTOR: Final = 2.5
"""Requests are repeated at intervals that double at most."""

OutboundT = TypeVar("OutboundT")
"""Whatever stands for a way out; only compared."""


class State(Enum):
    """See the table above."""

    DIALLING = "dialling"
    OPENING = "opening"
    RELAYED = "relayed"
    LINGERING = "lingering"


class Flow(Generic[OutboundT]):
    """One connection.

    key         source, destination and both ports of what the application sends
    request     its SYN, a whole packet; empty once accepted
    sequence    the sequence number of that
    alias       source, destination and both ports of what the listener is sent
    last        when anything last passed
    """

    __slots__ = (
        "alias",
        "answer_key",
        "fins",
        "interval",
        "key",
        "last",
        "outbound",
        "request",
        "sequence",
        "state",
        "tally",
        "version",
    )

    def __init__(
        self,
        key: bytes,
        request: bytes,
        sequence: int,
        outbound: OutboundT,
        tally: Tally,
        now: float,
    ) -> None:
        self.key = key
        self.version = 4 if len(key) == 12 else 6
        self.request = request
        self.sequence = sequence
        self.outbound = outbound
        self.tally = tally
        self.state = State.DIALLING
        self.last = now
        self.interval = 0.0
        self.alias = b""
        self.answer_key = b""
        self.fins = 0

    @property
    def after_request(self) -> int:
        """The sequence number of a reset by which the application gives up, once answered."""
        return (self.sequence + 1) & 0xFFFFFFFF

    def repeated(self, now: float) -> None:
        """The application has sent its request again."""
        self.interval = max(self.interval, now - self.last)
        self.last = now

    def is_given_up(self, now: float) -> bool:
        """Whether the application would have asked again by now if it were still waiting."""
        patience = max(FIRST_PATIENCE, self.interval * PATIENCE_FACTOR)
        return now - self.last > patience


class FlowTable(Generic[OutboundT]):
    """All flows of both families.

    limit: see above.
    peers: by IP version, the address that aliases have.
    listeners: by IP version, the addresses and ports of our listeners, 6 or 18 bytes each; a family
    of which the TUN has no address has none, and its flows are refused.
    """

    def __init__(
        self, limit: int, peers: Mapping[int, bytes], listeners: Mapping[int, Sequence[bytes]]
    ) -> None:
        self.limit = limit
        self.flows: dict[bytes, Flow[OutboundT]] = {}
        self.rewrites: dict[bytes, Rewrite[Flow[OutboundT]]] = {}
        self._peers = peers
        self._listeners = listeners
        self._lingering: dict[Flow[OutboundT], None] = {}
        self._next = dict.fromkeys(listeners, 0)

    def __len__(self) -> int:
        """The flows that are not lingering."""
        return len(self.flows) - len(self._lingering)

    @property
    def is_full(self) -> bool:
        return len(self) >= self.limit

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
        former = self.flows.get(key)
        if former is not None:
            self.end(former)
        flow = self.flows[key] = Flow(key, request, sequence, outbound, tally, now)
        tally.flows += 1
        return flow

    def connected(self, flow: Flow[OutboundT], now: float) -> Rewrite[Flow[OutboundT]] | None:
        """DIALLING → OPENING: what turns its request into one to the listener; None when there is
        no alias left."""
        alias = self._free_alias(flow.version)
        if alias is None:
            return None
        flow.state = State.OPENING
        flow.last = now
        flow.alias = alias
        flow.answer_key = mirrored(alias)
        inward = Rewrite(flow, False, flow.key, alias)
        self.rewrites[flow.key] = inward
        self.rewrites[flow.answer_key] = Rewrite(flow, True, flow.answer_key, mirrored(flow.key))
        return inward

    def accepted(self, alias: bytes) -> Flow[OutboundT] | None:
        """OPENING → RELAYED: the flow whose alias has connected to a listener; None when nobody
        may have done so."""
        rewrite = self.rewrites.get(mirrored(alias))
        if rewrite is None or not rewrite.outward:
            return None
        flow = rewrite.owner
        if flow.state is not State.OPENING:
            return None
        flow.state = State.RELAYED
        flow.request = b""
        return flow

    def linger(self, flow: Flow[OutboundT], now: float) -> None:
        """RELAYED → LINGERING: our sockets are closed. One that has ended stays so."""
        if self.flows.get(flow.key) is not flow:
            return
        if len(self._lingering) >= self.limit:
            self.end(next(iter(self._lingering)))
        flow.state = State.LINGERING
        flow.last = now
        flow.tally.flows -= 1
        self._lingering[flow] = None

    def end(self, flow: Flow[OutboundT]) -> None:
        """Forget a flow, whatever its state; one that has ended stays so."""
        if self.flows.get(flow.key) is not flow:
            return
        if flow not in self._lingering:
            flow.tally.flows -= 1
        del self.flows[flow.key]
        self.rewrites.pop(flow.key, None)
        self.rewrites.pop(flow.answer_key, None)
        self._lingering.pop(flow, None)

    def idle_longest(self, now: float) -> Flow[OutboundT] | None:
        """The relayed flow that may be ended to make room, if there is one."""
        relayed = (flow for flow in self.flows.values() if flow.state is State.RELAYED)
        oldest = min(relayed, key=lambda flow: flow.last, default=None)
        return oldest if oldest and now - oldest.last >= ESTABLISHED else None

    def expired(self, now: float) -> Iterator[Flow[OutboundT]]:
        """The flows whose time is over. Those that lingered are ended; of the others the caller
        has sockets to close first."""
        for flow in list(self.flows.values()):
            match flow.state:
                case State.DIALLING:
                    over = flow.is_given_up(now)
                case State.OPENING:
                    over = now - flow.last >= TRANSITORY
                case State.LINGERING:
                    over = now - flow.last >= (TIME_WAIT if flow.fins == 3 else TRANSITORY)
                case State.RELAYED:
                    over = False
            if not over:
                continue
            if flow.state is State.LINGERING:
                self.end(flow)
            else:
                yield flow

    def of_outbound(self, outbound: OutboundT) -> list[Flow[OutboundT]]:
        """The flows of a way out."""
        return [flow for flow in self.flows.values() if flow.outbound == outbound]

    def living(self) -> list[Flow[OutboundT]]:
        """The flows that are not lingering."""
        return [flow for flow in self.flows.values() if flow.state is not State.LINGERING]

    def _free_alias(self, version: int) -> bytes | None:
        listeners = self._listeners.get(version, ())
        for _ in range(len(ALIAS_PORTS) * len(listeners)):
            turn = self._next[version]
            self._next[version] = turn + 1
            round_, port = divmod(turn, len(ALIAS_PORTS))
            listener = listeners[round_ % len(listeners)]
            ports = ALIAS_PORTS[port].to_bytes(2, "big") + listener[-2:]
            alias = self._peers[version] + listener[:-2] + ports
            if mirrored(alias) not in self.rewrites:
                return alias
        return None


def destination_of(key: bytes) -> tuple[bytes, int]:
    """Address and port that the segments of a key go to."""
    size = (len(key) - 4) // 2
    return key[size : 2 * size], int.from_bytes(key[-2:], "big")


def source_of(key: bytes) -> bytes:
    """Address that the segments of a key come from."""
    return key[: (len(key) - 4) // 2]


def mirrored(key: bytes) -> bytes:
    """The key of the segments that go the other way."""
    size = (len(key) - 4) // 2
    return key[size : 2 * size] + key[:size] + key[-2:] + key[-4:-2]
