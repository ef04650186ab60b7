"""Reports of what leaves directly: the connections of this machine's programs that the system
lists, with what it counts of them, and what has no connection, see `sent`.

A flow leaves directly if its source is an address of the outbound that the rules lead to, its
socket is bound to no interface (those of the router are, and those of programs that have chosen one
themselves never enter the TUN), and no relayed flow has its ends. Datagrams of a socket that is not
connected are reported as long as a socket has their port.

Always true: a part is what one step of the system's list has, or PART flows, so that packets pass
between two. What is not known is None.

Must not know: how the system lists connections.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from router.config.model import Path, PolicyType
from router.engine.direct.sent import SentFlow
from router.engine.forwarder import Forwarder
from router.flows.report import DIRECT, PROTOCOLS, FlowFilter, FlowReport
from router.flows.udp.flow import flow_key
from router.outbound.all import Outbounds
from router.outbound.base import Outbound
from router.platform.base.connections import Connection, Traffic
from router.platform.base.facts import Facts
from router.policy.prefixes import FAMILIES
from router.wire import icmp, ip

WITH_CONNECTIONS: Final = (ip.UDP, ip.TCP)
PART: Final = 20
SENT: Final = "sent"
"""The state of what has no connection: whether it was answered is not known."""


def direct_flows(
    facts: Facts, forwarder: Forwarder, outbounds: Outbounds, wanted: FlowFilter, now: float
) -> Iterator[list[FlowReport]]:
    """Part by part. now: of the loop's clock. Raises OSError where the system does not list
    connections."""
    reports = _Reports(forwarder, outbounds, now)
    ports: set[int] = set()
    for protocol in WITH_CONNECTIONS:
        if wanted.protocol in (None, PROTOCOLS[protocol]):
            for version in FAMILIES:
                for some in facts.connections(version, protocol):
                    ports.update(each.source_port for each in some if not each.is_connected)
                    found = (reports.of_connection(each) for each in some if each.is_connected)
                    yield list(wanted.of(each for each in found if each is not None))
    live = [each for each in forwarder.direct.sent.live(now) if _has_socket(each, ports)]
    for first in range(0, len(live), PART):
        found = (reports.of_sent(each) for each in live[first : first + PART])
        yield list(wanted.of(each for each in found if each is not None))


def _has_socket(flow: SentFlow, ports: set[int]) -> bool:
    """As far as it is known: sockets of queries are not listed."""
    return flow.protocol != ip.UDP or flow.ports[0] in ports


class _Reports:
    """None stands for what does not leave directly."""

    def __init__(self, forwarder: Forwarder, outbounds: Outbounds, now: float) -> None:
        self._forwarder = forwarder
        self._outbounds = outbounds
        self._now = now
        self._connected: set[bytes] = set()

    def of_connection(self, connection: Connection) -> FlowReport | None:
        protocol, source, source_port, destination, port, interface, state, traffic = connection
        if interface:
            return None
        key = flow_key(source, destination, source_port, port)
        times = None
        if protocol == ip.UDP:
            self._connected.add(key)
            times = self._forwarder.direct.sent.times(key, self._now)
        ends = protocol, source, source_port, destination, port
        return self._report(ends, key, state, times, traffic)

    def of_sent(self, flow: SentFlow) -> FlowReport | None:
        if flow.protocol == ip.UDP and flow.key in self._connected:
            return None
        source_port, port = flow.ports
        ends = flow.protocol, flow.source, source_port, flow.destination, port
        return self._report(ends, flow.key, SENT, (flow.first, flow.last), None)

    def _report(
        self,
        ends: tuple[int, bytes, int, bytes, int],
        key: bytes,
        state: str,
        times: tuple[float | None, float] | None,
        traffic: Traffic | None,
    ) -> FlowReport | None:
        forwarder = self._forwarder
        protocol, source, _, destination, port = ends
        version, address = 4 if len(destination) == 4 else 6, int.from_bytes(destination, "big")
        if not forwarder.direct.owns(source) or forwarder.carriers.flow(version, protocol, key):
            return None
        is_icmp = protocol == icmp.protocol_of(version)
        policy, rule = forwarder.rules.decide(version, address, protocol, 0 if is_icmp else port)
        outbound: Outbound | None = self._outbounds.by_policy.get(policy.name)
        if policy.type is PolicyType.BYPASS and forwarder.rules.captures(version, address):
            outbound = self._outbounds.by_system(version, address)
        if policy.path is not Path.AUTO or outbound is None or not outbound.sends_from(source):
            return None
        by = policy.name, rule, outbound.leaves_by
        head = DIRECT, *ends, *by, None, None, state
        if traffic is None:
            age, idle = (None, None) if times is None else self._since(*times)
            return FlowReport(*head, age, idle, None, None, None, None, None)
        return FlowReport(
            *head,
            None,
            traffic.idle,
            traffic.packets_out,
            traffic.bytes_out,
            traffic.packets_in,
            traffic.bytes_in,
            traffic.round_trip,
            *traffic.resent,
        )

    def _since(self, first: float | None, last: float) -> tuple[float | None, float]:
        return None if first is None else self._now - first, self._now - last
