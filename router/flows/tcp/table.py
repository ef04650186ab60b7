"""The TCP flows of both families; see router.flows.tcp."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from sys import maxsize
from typing import Final

from router.flows import flow as common
from router.flows.expiry import EVERY, ExpiryQueue
from router.flows.flow import OutboundT
from router.flows.nat.rewrite import Rewrite
from router.flows.numbers import NONE_LEFT, NumberQueue
from router.flows.shares import Shares
from router.flows.shrinking import shrink
from router.flows.tally import Tally
from router.flows.tcp.flow import LISTENERS_FIN, Flow, State, mirrored

ALIAS_PORTS: Final = range(1024, 65536)
HALF_OPEN: Final = 4096
"""Flows that are not relayed yet, at most."""
MOST_LOOKS: Final = 32
"""Flows of which a request looks whether they have been idle for long enough."""


class FlowTable(common.FlowTable[OutboundT, Flow[OutboundT]]):
    """The flows of both families.

    limit: see router.flows.tcp.
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

    def lingers(self, flow: Flow[OutboundT]) -> bool:
        return self._lingering.get(flow.key) is flow

    def unfinished(self) -> list[Flow[OutboundT]]:
        """Those that linger and whose listener has not sent its FIN: more has to be delivered to
        their applications before."""
        return [flow for flow in self._lingering.values() if flow.fins < LISTENERS_FIN]

    def has_due(self, now: float) -> bool:
        """Whether `expired` has more to look at."""
        return self._expiry.has_due(now)

    def shrink(self) -> None:
        super().shrink()
        shrink(self.rewrites, self._lingering, self._idle)
        self.shares.shrink()
        self.half_open.shrink()

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
