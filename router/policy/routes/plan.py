"""What a run installs: the TUN with its addresses, and the routes with their MTU.

`check` prints the plan and the engine carries it out, so `check` prints what `run` installs.

Always true: routes are sorted; no route's MTU is above the TUN's or below the minimum of IPv6; no
route leads a VPN's own packets into this VPN.

Must not know: how devices are made or routes installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from router.config.model import Config, Tun
from router.policy.interfaces import FactsOf
from router.policy.match.table import RuleSet
from router.policy.network import Endpoint
from router.policy.resolve import effective
from router.policy.routes.capture import Route, plan_routes
from router.policy.routes.exempt import exempt_endpoints
from router.wire.ip import IPV6_MIN_MTU


@dataclass(frozen=True, slots=True)
class Plan:
    """`tun` as configured; `rules` and `prefixes` are counts; `exempt` are the endpoints of VPNs
    that the rules capture and the routes exclude."""

    tun: Tun
    routes: list[Route]
    rules: int
    prefixes: int
    exempt: tuple[Endpoint, ...] = ()


def make_plan(
    config: Config, rule_set: RuleSet, facts_of: FactsOf, endpoints: Iterable[Endpoint]
) -> Plan:
    """The plan for outbounds that are as `facts_of` says, and VPNs with these endpoints."""
    exempt = exempt_endpoints(config, rule_set, facts_of, endpoints)
    routes = plan_routes(
        config,
        rule_set,
        lambda policy: route_mtu(config, policy, facts_of),
        frozenset((endpoint.version, endpoint.address) for endpoint in exempt),
    )
    prefixes = sum(
        len(rule.prefixes)
        + sum(len(each.v4) + len(each.v6) for each in rule.lists)
        + sum(len(each.packed) for version in (4, 6) for each in rule.all_ranges(version))
        for rule in config.rules
    )
    return Plan(config.tun, routes, len(config.rules), prefixes, exempt)


def route_mtu(config: Config, policy: str, facts_of: FactsOf) -> int:
    """The largest packet in bytes by a policy, or by what its on_down leads to while it is down.

    Not below 1280 bytes, which every IPv6 link must take (RFC 8200, section 5).
    """
    applies = effective(config, policy, lambda name: facts_of(name) is not None)
    facts = facts_of(applies)
    mtu = config.tun.mtu if facts is None else min(config.tun.mtu, facts.mtu)
    return max(mtu, IPV6_MIN_MTU)
