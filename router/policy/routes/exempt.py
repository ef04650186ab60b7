"""Endpoints of VPNs, and proxies, that no route may capture.

The kernel routes a VPN's own packets like those of any program. Captured by the policy that leaves
by this VPN, they would be encapsulated again and again.

A proxy that the system's own routes lead to is exempted wherever rules send it into the TUN: the
programs that use it themselves would be sent to it by itself. One with a `via` is not: the router's
own connections to it are bound to that policy's interface, and the rules decide about others.

Always true: an endpoint is exempted only where its packets could never arrive otherwise; where a
rule sends them by another outbound, the rule is followed.

Must not know: how endpoints are found, how routes are installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from router.config.model import Config, PolicyType
from router.policy.interfaces import FactsOf, leaves_by
from router.policy.match.table import RuleSet
from router.policy.network import Endpoint, ProxyServer
from router.policy.resolve import policy_of
from router.wire.ip import TCP, UDP


def exempt_endpoints(
    config: Config, rule_set: RuleSet, facts_of: FactsOf, endpoints: Iterable[Endpoint]
) -> tuple[Endpoint, ...]:
    """Those that rules send into their own VPN, each once."""

    def into_itself(endpoint: Endpoint) -> bool:
        index = rule_set.decide(endpoint.version, endpoint.address, UDP, endpoint.port)
        policy = config.policies[policy_of(config, index)]
        return leaves_by(policy.interface, endpoint.interface, facts_of(policy.name))

    return tuple(filter(into_itself, dict.fromkeys(endpoints)))


def exempt_proxies(
    config: Config, rule_set: RuleSet, servers: Iterable[ProxyServer]
) -> tuple[ProxyServer, ...]:
    """Those that rules send into the TUN, each address once; no route can capture loopback."""

    def is_captured(server: ProxyServer) -> bool:
        index = rule_set.decide(server.version, server.address, TCP, server.port)
        is_loopback = (IPv4Address if server.version == 4 else IPv6Address)(
            server.address
        ).is_loopback
        return not is_loopback and policy_of(config, index) != PolicyType.BYPASS

    first = {(each.version, each.address): each for each in reversed(list(servers))}
    return tuple(sorted(filter(is_captured, first.values())))
