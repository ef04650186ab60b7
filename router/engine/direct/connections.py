"""Reports of what leaves directly: the connections of this machine's programs that the system
lists, with what it counts of them.

A connection leaves directly if its source is an address of the outbound that the rules lead to, its
socket is bound to no interface (those of the router are, and those of programs that have chosen one
themselves never enter the TUN), and no relayed flow has its ends.

Always true: a part is what one step of the system's list has, so that packets pass between two.

Must not know: how the system lists them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from router.config.model import Path, PolicyType
from router.engine.forwarder import Forwarder
from router.flows.report import DIRECT, PROTOCOLS, FlowFilter, FlowReport
from router.flows.udp.flow import flow_key
from router.outbound.all import Outbounds
from router.outbound.base import Outbound
from router.platform.base.connections import Connection
from router.platform.base.facts import Facts
from router.policy.prefixes import FAMILIES
from router.wire import ip

WITH_CONNECTIONS: Final = (ip.UDP, ip.TCP)


def direct_flows(
    facts: Facts, forwarder: Forwarder, outbounds: Outbounds, wanted: FlowFilter
) -> Iterator[list[FlowReport]]:
    """Part by part. Raises OSError where the system does not list connections."""
    for protocol in WITH_CONNECTIONS:
        if wanted.protocol in (None, PROTOCOLS[protocol]):
            for version in FAMILIES:
                for some in facts.connections(version, protocol):
                    reports = (_report(each, forwarder, outbounds) for each in some)
                    yield list(wanted.of(each for each in reports if each is not None))


def _report(
    connection: Connection, forwarder: Forwarder, outbounds: Outbounds
) -> FlowReport | None:
    """None where it does not leave directly."""
    protocol, source, source_port, destination, port, interface, state, traffic = connection
    if interface or not forwarder.direct.owns(source) or _is_relayed(connection, forwarder):
        return None
    version, address = 4 if len(destination) == 4 else 6, int.from_bytes(destination, "big")
    policy, rule = forwarder.rules.decide(version, address, protocol, port)
    outbound: Outbound | None = outbounds.by_policy.get(policy.name)
    if policy.type is PolicyType.BYPASS and forwarder.rules.captures(version, address):
        outbound = outbounds.by_system(version, address)
    if policy.path is not Path.AUTO or outbound is None or not outbound.sends_from(source):
        return None
    ends = protocol, source, source_port, destination, port
    by = policy.name, rule, outbound.leaves_by
    head = DIRECT, *ends, *by, None, None, state, None
    if traffic is None:
        return FlowReport(*head, None, None, None, None, None, None)
    return FlowReport(
        *head,
        traffic.idle,
        traffic.packets_out,
        traffic.bytes_out,
        traffic.packets_in,
        traffic.bytes_in,
        traffic.round_trip,
        *traffic.resent,
    )


def _is_relayed(connection: Connection, forwarder: Forwarder) -> bool:
    """Whether its ends are those of a relayed flow."""
    key = flow_key(
        connection.source,
        connection.destination,
        connection.source_port,
        connection.destination_port,
    )
    carriers = forwarder.carriers
    if connection.protocol == ip.TCP:
        return carriers.streams.knows(key)
    return carriers.datagrams.knows(key)
