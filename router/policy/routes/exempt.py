"""Endpoints of VPNs that no route may capture: a VPN's own packets are routed like any program's,
and captured by the policy that leaves by this VPN they would be wrapped again and again.

Always true: an endpoint is exempted only where its packets could never arrive otherwise; where a
rule sends them another way out, the rule is followed.

Must not know: how endpoints are found out, how routes are installed.
"""

from __future__ import annotations

from collections.abc import Iterable

from router.config.model import DEFAULT_INTERFACE, Config
from router.policy.interfaces import FactsOf
from router.policy.match.table import RuleSet
from router.policy.network import Endpoint
from router.policy.resolve import policy_of
from router.wire.ip import UDP


def leaves_by(config: Config, policy: str, interface: str, facts_of: FactsOf) -> bool:
    """Whether a policy's packets leave by the interface, be it up or not."""
    wanted = config.policies[policy].interface
    facts = facts_of(policy)
    if wanted == DEFAULT_INTERFACE:
        return facts is not None and interface in facts.interfaces
    return wanted == interface


def exempt_endpoints(
    config: Config, rule_set: RuleSet, facts_of: FactsOf, endpoints: Iterable[Endpoint]
) -> tuple[Endpoint, ...]:
    """Those that rules send into their own VPN, each once."""
    return tuple(
        endpoint
        for endpoint in dict.fromkeys(endpoints)
        if leaves_by(
            config,
            policy_of(
                config, rule_set.decide(endpoint.version, endpoint.address, UDP, endpoint.port)
            ),
            endpoint.interface,
            facts_of,
        )
    )
