"""A table tells of each flow that enters or leaves it, if there is anybody to tell."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from router.flows.flow import FlowTable


class Table(FlowTable[Any, Any]):
    def begin(self, flow: Any) -> None:
        self._insert(flow)

    def end(self, flow: Any) -> None:
        self._delete(flow)


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[str, Any, int]] = []

    def begun(self, flow: Any) -> None:
        self.events.append(("begun", flow, flow.tally.flows))

    def ended(self, flow: Any) -> None:
        self.events.append(("ended", flow, flow.tally.flows))


def test_each_flow_is_told_of_when_it_counts_and_when_it_does_not_any_more() -> None:
    table, told = Table(), Told()
    flow = SimpleNamespace(key=b"one", tally=SimpleNamespace(flows=0))
    table.begin(flow)
    table.end(flow)
    table.events = told
    table.begin(flow)
    table.end(flow)
    assert told.events == [("begun", flow, 1), ("ended", flow, 0)]
