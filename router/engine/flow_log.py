"""Log lines about single flows: when each begins and ends. They are at level `debug` alone.

Always true: where that level is not logged, no table calls anything here.

Must not know: how flows are carried.
"""

from __future__ import annotations

import logging
from typing import Any, Protocol

from router.flows.flow import Flow
from router.outbound.base import Outbound
from router.wire import icmp, ip

log = logging.getLogger(__name__)

PROTOCOLS = {ip.TCP: "tcp", ip.UDP: "udp", icmp.protocol_of(4): "icmp", icmp.protocol_of(6): "icmp"}


class Clock(Protocol):
    """The part of the event loop that is needed here; see router.engine.loop."""

    now: float


class FlowLog:
    """See router.flows.flow.FlowEvents."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def begun(self, flow: Flow[Any]) -> None:
        log.debug("flow begun: %s by %s", _ends(flow), _way(flow))

    def ended(self, flow: Flow[Any]) -> None:
        log.debug(
            "flow ended: %s by %s: %d packets, %d bytes out; %d packets, %d bytes in; %.1f s",
            *(_ends(flow), _way(flow), flow.packets_out, flow.bytes_out),
            *(flow.packets_in, flow.bytes_in, max(0.0, self._clock.now - flow.began)),
        )


def is_wanted() -> bool:
    """Whether such lines are logged in this run."""
    return log.isEnabledFor(logging.DEBUG)


def _ends(flow: Flow[Any]) -> str:
    source, destination = map(ip.format_address, (flow.source, flow.destination))
    if PROTOCOLS[flow.protocol] == "icmp":
        return f"icmp {source} to {destination} id {flow.source_port}"
    return f"{PROTOCOLS[flow.protocol]} {_end(source, flow.source_port)} to " + _end(
        destination, flow.destination_port
    )


def _end(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _way(flow: Flow[Any]) -> str:
    outbound: Outbound = flow.outbound
    rule = f"rule {flow.tally.rule}" if flow.tally.rule else "the default"
    return f"{rule}, policy {flow.tally.policy}, {outbound.leaves_by}"
