"""Reports of the relayed flows, from the tables of their protocols.

Always true: a part is of AT_ONCE flows at most, so that packets pass between two parts; of a flow
that has ended meanwhile the last state is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Final

from router.engine.carriers import Carriers
from router.flows import icmp
from router.flows.flow import Flow
from router.flows.report import RELAYED, FlowFilter, FlowReport
from router.flows.tcp import flow as tcp
from router.flows.udp import flow as udp
from router.outbound.base import DatagramChannel, Outbound

AT_ONCE: Final = 20
"""A third of a millisecond's worth, as JSON: of a TCP flow two system calls tell the outer end."""

Describe = Callable[[Flow[Outbound], float], FlowReport]


def relayed_flows(
    carriers: Carriers, wanted: FlowFilter, now: Callable[[], float]
) -> Iterator[list[FlowReport]]:
    """Part by part. now: the time of the loop."""
    kinds: dict[str, tuple[Callable[[], Iterable[Flow[Outbound]]], Describe]] = {
        "icmp": (carriers.queries.flows, _query),
        "udp": (carriers.datagrams.flows, _datagram),
        "tcp": (carriers.streams.flows, partial(_stream, carriers)),
    }
    for protocol, (flows, describe) in kinds.items():
        if wanted.protocol in (None, protocol):
            rest = iter(flows())
            while some := list(islice(rest, AT_ONCE)):
                yield [
                    describe(flow, now())
                    for flow in some
                    if wanted.admits(flow.tally.policy, flow.tally.rule)
                ]


def outside_of(carriers: Carriers, flow: Flow[Outbound]) -> tuple[bytes | None, int | None]:
    """Address and port, or identifier, that the source of a flow becomes; of TCP two system calls
    tell it."""
    describe: Mapping[type, Describe] = {
        icmp.Binding: _query,
        udp.Flow: _datagram,
        tcp.Flow: partial(_stream, carriers),
    }
    report = describe[type(flow)](flow, flow.last)
    return report.outside, report.outside_port


def _query(flow: Flow[Outbound], now: float) -> FlowReport:
    assert isinstance(flow, icmp.Binding)
    outside = flow.outside_address, flow.outside_id
    return _report(flow, now, outside, _answered(flow), flow.round_trip)


def _datagram(flow: Flow[Outbound], now: float) -> FlowReport:
    assert isinstance(flow, udp.Flow)
    mapping: udp.Mapping[Outbound, DatagramChannel] = flow.mapping
    outside = mapping.outside_address, mapping.outside_port
    return _report(flow, now, outside, _answered(flow), None)


def _stream(carriers: Carriers, flow: Flow[Outbound], now: float) -> FlowReport:
    assert isinstance(flow, tcp.Flow)
    state: str = flow.state.value
    end = carriers.streams.outer_end(flow)
    if end is None:
        return _report(flow, now, (None, None), state, None)
    report = _report(flow, now, (end.address, end.port), state, end.round_trip)
    segments, again = end.resent
    return report._replace(segments_out=segments, segments_resent=again)


def _answered(flow: Flow[Outbound]) -> str:
    return "answered" if flow.packets_in else "unanswered"


def _report(
    flow: Flow[Outbound],
    now: float,
    outside: tuple[bytes | None, int | None],
    state: str,
    round_trip: float | None,
) -> FlowReport:
    """outside: address and port; not known where the address is none of the outbound's, as on the
    way to a proxy, or unspecified."""
    address, port = outside
    if not address or not any(address) or not flow.outbound.owns(address):
        address = port = None
    return FlowReport(
        RELAYED,
        flow.protocol,
        flow.source,
        flow.source_port,
        flow.destination,
        flow.destination_port,
        flow.tally.policy,
        flow.tally.rule,
        flow.outbound.leaves_by,
        address,
        port,
        state,
        now - flow.began,
        max(0.0, now - flow.last),
        flow.packets_out,
        flow.bytes_out,
        flow.packets_in,
        flow.bytes_in,
        round_trip,
    )
