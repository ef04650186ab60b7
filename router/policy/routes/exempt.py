"""Endpoints of VPNs that no route may capture.

The kernel routes a VPN's own packets like those of any program. Captured by the policy that leaves
by this VPN, they would be encapsulated again and again.

Always true: an endpoint is exempted only where its packets could never arrive otherwise; where a
rule sends them by another outbound, the rule is followed.

Must not know: how endpoints are found, how routes are installed.
"""

from __future__ import annotations

from collections.abc import Iterable

from router.config.model import Config
from router.policy.interfaces import FactsOf, leaves_by
from router.policy.match.table import RuleSet
from router.policy.network import Endpoint
from router.policy.resolve import policy_of
from router.wire.ip import UDP


def exempt_endpoints(
    config: Config, rule_set: RuleSet, facts_of: FactsOf, endpoints: Iterable[Endpoint]
) -> tuple[Endpoint, ...]:
    """Those that rules send into their own VPN, each once."""

    def into_itself(endpoint: Endpoint) -> bool:
        index = rule_set.decide(endpoint.version, endpoint.address, UDP, endpoint.port)
        policy = config.policies[policy_of(config, index)]
        return leaves_by(policy.interface, endpoint.interface, facts_of(policy.name))

    return tuple(filter(into_itself, dict.fromkeys(endpoints)))
