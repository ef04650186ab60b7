"""The life of flows that hold no connection, those of ICMP and UDP: they end in their tables alone.

Must not know: how packets of a flow are carried.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from router.engine.reload.reevaluate import Reevaluated, Reevaluation
from router.flows.flow import FlowEvents
from router.outbound.base import Change, Outbound


class Table(Protocol):
    """A flow table that ends what has expired; see router.flows.flow.FlowTable."""

    events: FlowEvents | None

    def __len__(self) -> int: ...
    def flows(self) -> list[Any]: ...
    def outbounds(self) -> set[Outbound]: ...
    def shrink(self) -> None: ...
    def of_outbound(self, outbound: Outbound, /) -> list[Any]: ...
    def end(self, flow: Any, /) -> None: ...
    def expire(self, now: float, most: int) -> bool: ...


class TableCarrier:
    """The flows of several tables; see router.engine.carriers.Carrier."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._all_tables = tables

    def __len__(self) -> int:
        return sum(map(len, self._all_tables))

    def expire(self, now: float, most: int) -> bool:
        """End flows that have been idle for too long, about `most` of them; whether there are
        more."""
        more = [table.expire(now, most) for table in self._all_tables]
        return any(more)

    def shrink(self) -> None:
        """Give back the room that far more flows needed once."""
        for table in self._all_tables:
            table.shrink()

    def forget(self, change: Change) -> None:
        """End the flows that have lost their outbound, or their address there; the next packet
        begins another."""
        for table in self._all_tables:
            for flow in table.of_outbound(change.outbound):
                if flow.version in change.lost or self._is_lost(change.outbound, flow):
                    table.end(flow)

    def _is_lost(self, outbound: Outbound, flow: Any) -> bool:
        """Whether nothing can arrive for a flow any more."""
        return outbound.has_lost_address(flow.outside_address)

    def reevaluate(self, reevaluation: Reevaluation) -> Reevaluated:
        """End the flows about which other rules decide otherwise."""
        kept = ended = 0
        for table in self._all_tables:
            living, ending = reevaluation.divide(table.flows())
            for flow in ending:
                table.end(flow)
            kept += living
            ended += len(ending)
        return Reevaluated(kept, ended)

    def flows(self) -> list[Any]:
        """All of them."""
        return [flow for table in self._all_tables for flow in table.flows()]

    def outbounds(self) -> set[Outbound]:
        """Those that a flow uses."""
        return {outbound for table in self._all_tables for outbound in table.outbounds()}

    def tell(self, events: FlowEvents) -> None:
        """Of every flow that begins or ends from now on."""
        for table in self._all_tables:
            table.events = events
