"""What a run installs: the TUN with its addresses, and the routes with MTU and source address.

`check` prints the plan and the engine carries it out, so `check` prints what `run` installs.

Always true: routes are sorted; no route's MTU is above the TUN's or below the minimum of IPv6; no
route leads a VPN's own packets into this VPN.

Must not know: how devices are made or routes installed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from router.config.model import Config, Path, PolicyType, Tun
from router.policy.interfaces import FactsOf
from router.policy.match.table import RuleSet
from router.policy.network import Endpoint, ProxyServer, SourceRange
from router.policy.resolve import effective
from router.policy.routes.capture import plan_routes
from router.policy.routes.exempt import exempt_endpoints, exempt_proxies
from router.policy.routes.route import Route
from router.wire.ip import IPV6_MIN_MTU

CARRY_NOTHING: Final = (PolicyType.REPLY, PolicyType.DROP, PolicyType.REJECT)
"""Their packets end in the router."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`tun` as configured; `rules` and `prefixes` are counts; `exempt` are the endpoints of VPNs,
    `proxies` the addresses of proxies, that the rules capture and the routes exclude."""

    tun: Tun
    routes: list[Route]
    rules: int
    prefixes: int
    exempt: tuple[Endpoint, ...] = ()
    proxies: tuple[ProxyServer, ...] = ()


def make_plan(
    config: Config,
    rule_set: RuleSet,
    facts_of: FactsOf,
    endpoints: Iterable[Endpoint],
    servers: Iterable[ProxyServer] = (),
) -> Plan:
    """The plan for outbounds that are as `facts_of` says, VPNs with these endpoints, and proxies
    with these addresses."""
    proxies = exempt_proxies(config, rule_set, servers)
    exempt = exempt_endpoints(config, rule_set, facts_of, endpoints)
    routes = plan_routes(
        config,
        rule_set,
        lambda policy: route_mtu(config, policy, facts_of),
        frozenset(chain(map(_address, exempt), map(_address, proxies))),
        lambda version, policies: route_sources(config, version, policies, facts_of),
    )
    prefixes = sum(
        len(rule.prefixes)
        + sum(len(each.v4) + len(each.v6) for each in rule.lists)
        + sum(len(each.packed) for version in (4, 6) for each in rule.all_ranges(version))
        for rule in config.rules
    )
    return Plan(config.tun, routes, len(config.rules), prefixes, exempt, proxies)


def _address(endpoint: Endpoint | ProxyServer) -> tuple[int, int]:
    return endpoint.version, endpoint.address


def route_mtu(config: Config, policy: str, facts_of: FactsOf) -> int:
    """The largest packet in bytes by a policy, or by what its on_down leads to while it is down.

    Not below 1280 bytes, which every IPv6 link must take (RFC 8200, section 5).
    """
    facts = facts_of(applying(config, policy, facts_of))
    mtu = config.tun.mtu if facts is None else min(config.tun.mtu, facts.mtu)
    return max(mtu, IPV6_MIN_MTU)


def route_sources(
    config: Config, version: int, policies: Iterable[str], facts_of: FactsOf
) -> Sequence[SourceRange]:
    """The source addresses of programs whose packets get one of `policies`: those of the one
    outbound that carries them directly, where the other policies carry nothing; else none."""
    applied = {applying(config, policy, facts_of) for policy in policies}
    carrying = [name for name in applied if config.policies[name].type not in CARRY_NOTHING]
    interfaces = {config.policies[name].interface for name in carrying}
    if len(interfaces) != 1 or not all(is_direct(config, name) for name in carrying):
        return ()
    facts = facts_of(carrying[0])
    return () if facts is None else facts.sources.get(version, ())


def is_direct(config: Config, policy: str) -> bool:
    """Whether packets of a policy may leave with the source address that programs give them."""
    found = config.policies[policy]
    return found.type in (PolicyType.DIRECT, PolicyType.VPN) and found.path is Path.AUTO


def applying(config: Config, policy: str, facts_of: FactsOf) -> str:
    """The policy that applies in place of another, which may be down."""
    return effective(config, policy, lambda name: facts_of(name) is not None)
