"""The common view: flows of every protocol have the same attributes."""

from __future__ import annotations

from typing import Any

import pytest

from router.flows.flow import Flow, FlowTable
from router.flows.icmp import QueryTable
from router.flows.tally import Tally
from router.flows.tcp.table import FlowTable as TcpTable
from router.flows.udp.flow import flow_key
from router.flows.udp.table import DatagramTable
from router.wire import ip

SOURCE = {4: b"\x0a\0\0\1", 6: b"\xfd" + bytes(14) + b"\1"}
DESTINATION = {4: b"\xc6\x33\x64\1", 6: b"\xfd" + bytes(14) + b"\2"}
OWN = b"\xc0\0\2\2"
TALLY, OTHER = Tally("home", 1), Tally("office", 2)


def query(version: int) -> tuple[FlowTable[str, Any], Flow[str]]:
    table: QueryTable[str] = QueryTable(10)
    kind = 8 if version == 4 else 128
    ends = SOURCE[version], DESTINATION[version]
    flow = table.add("home", *ends, kind, 7, "far", OWN, TALLY, 5.0)
    assert flow is not None
    return table, flow


def datagrams(version: int) -> tuple[FlowTable[str, Any], Flow[str]]:
    table: DatagramTable[str, int] = DatagramTable(10, lambda _: None)
    mapping = table.open("home", SOURCE[version], 4000, OWN, 4000, 1)
    return table, table.begin(mapping, DESTINATION[version], 53, ("far", 53), TALLY, 5.0)


def connection(version: int) -> tuple[FlowTable[str, Any], Flow[str]]:
    table: TcpTable[str] = TcpTable(10, {}, {})
    key = flow_key(SOURCE[version], DESTINATION[version], 4000, 53)
    return table, table.begin(key, b"request", 1, "home", TALLY, 5.0)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("begin", "protocols", "ports"),
    [
        (query, {4: ip.ICMP, 6: ip.ICMPV6}, (7, 7)),
        (datagrams, {4: ip.UDP, 6: ip.UDP}, (4000, 53)),
        (connection, {4: ip.TCP, 6: ip.TCP}, (4000, 53)),
    ],
)
def test_flows_of_every_protocol_have_one_view(
    version: int, begin: Any, protocols: dict[int, int], ports: tuple[int, int]
) -> None:
    before = TALLY.flows
    table, flow = begin(version)
    assert (flow.version, flow.protocol) == (version, protocols[version])
    assert (flow.source, flow.destination) == (SOURCE[version], DESTINATION[version])
    assert (flow.source_port, flow.destination_port) == ports
    assert (flow.began, flow.last, flow.outbound) == (5.0, 5.0, "home")
    assert table.flows() == [flow] == [table.by_inside[flow.key]]
    assert table.outbounds() == {"home"}
    assert table.of_outbound("home") == [flow]
    assert table.of_outbound("office") == []
    assert TALLY.flows == before + 1
    flow.move(OTHER)
    assert (TALLY.flows, OTHER.flows) == (before, 1)
    for flow in table.of_outbound("home"):
        table.end(flow)
    assert (len(table), table.flows(), OTHER.flows) == (0, [], 0)
