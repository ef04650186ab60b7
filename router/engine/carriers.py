"""What carries the flows of each protocol.

Must not know: rules, and which packet goes to which carrier.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from router.engine.icmp.errors import Errors
from router.engine.icmp.queries import Queries
from router.engine.reload.reevaluate import Reevaluated, Reevaluation
from router.engine.tcp.streams import Streams
from router.engine.udp.datagrams import Datagrams
from router.flows.drops import Drops
from router.flows.flow import Flow, FlowEvents
from router.outbound.base import Change, Outbound
from router.wire import icmp, ip


class Carrier(Protocol):
    """The flows of one protocol."""

    def __len__(self) -> int: ...
    def expire(self, now: float, most: int) -> bool: ...
    def shrink(self) -> None: ...
    def forget(self, change: Change) -> None: ...
    def reevaluate(self, reevaluation: Reevaluation) -> Reevaluated: ...
    def flows(self) -> Sequence[Flow[Outbound]]: ...
    def outbounds(self) -> set[Outbound]: ...
    def tell(self, events: FlowEvents) -> None: ...


class Carriers:
    """The flows of all protocols, and the ICMP errors about them."""

    def __init__(
        self, queries: Queries, datagrams: Datagrams, streams: Streams, drops: Drops
    ) -> None:
        self.queries = queries
        self.datagrams = datagrams
        self.streams = streams
        self.errors = Errors(queries, datagrams, drops)
        self._all: Mapping[str, Carrier] = {"icmp": queries, "udp": datagrams, "tcp": streams}

    def expire(self, now: float, most: int) -> bool:
        """End flows that have been idle for too long, about `most` of each protocol; whether there
        are more."""
        more = [carrier.expire(now, most) for carrier in self._all.values()]
        return any(more)

    def shrink(self) -> None:
        """Give back the room that far more flows needed once."""
        for carrier in self._all.values():
            carrier.shrink()

    def look_after_peers(self, now: float) -> None:
        """See Streams."""
        self.streams.look_after_peers(now)

    def forget(self, change: Change) -> None:
        """End the flows that a change of their outbound has left without one; for the next packet
        of their application the rules are evaluated again."""
        for carrier in self._all.values():
            carrier.forget(change)

    def reevaluate(self, reevaluation: Reevaluation) -> dict[str, Reevaluated]:
        """End the flows about which other rules decide otherwise; the outcome by protocol."""
        return {name: each.reevaluate(reevaluation) for name, each in self._all.items()}

    def flows(self) -> Iterator[Flow[Outbound]]:
        """All of them."""
        for carrier in self._all.values():
            yield from carrier.flows()

    def flow(self, version: int, protocol: int, key: bytes) -> Flow[Outbound] | None:
        """The one whose packets from the inside have a key: source, destination, and both ports or
        type and identifier of a query."""
        if protocol == ip.TCP:
            return self.streams.flow(key)
        if protocol == ip.UDP:
            return self.datagrams.flow(key)
        if protocol == icmp.protocol_of(version):
            return self.queries.flow(version, key)
        return None

    def outbounds(self) -> set[Outbound]:
        """Those that a flow uses."""
        return {each for carrier in self._all.values() for each in carrier.outbounds()}

    def tell(self, events: FlowEvents) -> None:
        """Of every flow that begins or ends from now on."""
        for carrier in self._all.values():
            carrier.tell(events)

    def counts(self) -> dict[str, int]:
        """How many flows there are at present, by protocol."""
        return {name: len(carrier) for name, carrier in self._all.items()}

    def close(self) -> None:
        """Release everything that a flow holds."""
        self.streams.close()
        self.datagrams.close()
