"""What a flow is, and what a table of flows offers, whatever the protocol: so that flows can be
listed, re-evaluated and ended in one way.

Always true: a flow counts in its tally for as long as it is in its table, and only there.

Must not know: protocols, packets, sockets, rules. Time is an argument, in seconds. Addresses are
bytes in network order, 4 or 16 of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, Protocol, TypeVar

from router.flows.shrinking import shrink
from router.flows.tally import Tally

OutboundT = TypeVar("OutboundT")
"""An outbound; only compared."""


class Flow(ABC, Generic[OutboundT]):
    """The common view of a flow. What a packet needs is an attribute; the rest is computed.

    key     that its packets from the inside are found by: source, destination, and what follows
    began   the time of its first packet
    tally   what it is counted to
    packets_out, bytes_out, packets_in, bytes_in    its own part of that
    """

    __slots__ = ("began", "bytes_in", "bytes_out", "key", "packets_in", "packets_out", "tally")

    def __init__(self, key: bytes, tally: Tally, now: float) -> None:
        self.key = key
        self.tally = tally
        self.began = now
        self.packets_out = self.bytes_out = self.packets_in = self.bytes_in = 0

    @property
    def version(self) -> int:
        return 4 if len(self.key) < 2 * 16 else 6

    @property
    def source(self) -> bytes:
        return self.key[: 4 if self.version == 4 else 16]

    @property
    def destination(self) -> bytes:
        size = len(self.source)
        return self.key[size : 2 * size]

    @property
    @abstractmethod
    def protocol(self) -> int:
        """The IP protocol number."""

    @property
    @abstractmethod
    def source_port(self) -> int:
        """Of its packets from the inside; the identifier where there are no ports."""

    @property
    @abstractmethod
    def destination_port(self) -> int:
        """Likewise."""

    @property
    @abstractmethod
    def outbound(self) -> OutboundT:
        """The outbound that it goes by."""

    @property
    @abstractmethod
    def last(self) -> float:
        """The time of its last packet in either direction."""

    def went_out(self, size: int) -> None:
        """Count a packet of `size` bytes from the inside."""
        self.packets_out += 1
        self.bytes_out += size
        self.tally.went_out(size)

    def came_in(self, size: int) -> None:
        """Count a packet of `size` bytes to the inside."""
        self.packets_in += 1
        self.bytes_in += size
        self.tally.came_in(size)

    def move(self, tally: Tally) -> None:
        """Count it to another tally from now on. It is in its table."""
        self.tally.flows -= 1
        tally.flows += 1
        self.tally = tally


FlowT = TypeVar("FlowT", bound=Flow[Any])


class FlowEvents(Protocol):
    """Is told of each flow that enters or leaves a table."""

    def begun(self, flow: Flow[Any]) -> None: ...
    def ended(self, flow: Flow[Any]) -> None: ...


class FlowTable(ABC, Generic[OutboundT, FlowT]):
    """The flows of one protocol, by their keys. events: None where nobody is told."""

    def __init__(self) -> None:
        self.by_inside: dict[bytes, FlowT] = {}
        self.events: FlowEvents | None = None

    def __len__(self) -> int:
        return len(self.by_inside)

    def flows(self) -> list[FlowT]:
        """All; a list of its own, so that flows may end while it is iterated."""
        return list(self.by_inside.values())

    def outbounds(self) -> set[OutboundT]:
        """Those that a flow goes by."""
        return {flow.outbound for flow in self.by_inside.values()}

    def of_outbound(self, outbound: OutboundT) -> list[FlowT]:
        """The flows that go by it; a list of its own, likewise."""
        return [flow for flow in self.by_inside.values() if flow.outbound == outbound]

    @abstractmethod
    def end(self, flow: FlowT) -> None:
        """End a flow, and what exists only for it."""

    def shrink(self) -> None:
        """Give back the room that far more flows needed once."""
        shrink(self.by_inside)

    def _insert(self, flow: FlowT) -> None:
        self.by_inside[flow.key] = flow
        flow.tally.flows += 1
        if self.events is not None:
            self.events.begun(flow)

    def _delete(self, flow: FlowT) -> None:
        del self.by_inside[flow.key]
        flow.tally.flows -= 1
        if self.events is not None:
            self.events.ended(flow)
