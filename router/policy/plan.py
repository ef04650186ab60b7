"""What a run installs: the TUN with its addresses, and the routes with their MTU.

`check` prints the plan and the engine carries it out, so what is printed is what happens.

Always true: routes are sorted; no route's MTU is above the TUN's or below what IPv6 needs.

Must not know: how devices are made or routes installed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from router.config.model import Config, Tun
from router.policy.capture import Route, plan_routes
from router.policy.network import Interface
from router.policy.resolve import effective
from router.policy.table import RuleSet
from router.wire.ip import IPV6_MIN_MTU

WayOf = Callable[[str], Mapping[int, Interface]]
"""The interfaces of a policy at present, by IP version; none where it is down or built in."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`tun` as asked for; `rules` and `prefixes` count what the configuration has."""

    tun: Tun
    routes: list[Route]
    rules: int
    prefixes: int


def make_plan(config: Config, rule_set: RuleSet, way_of: WayOf) -> Plan:
    """The plan for ways out that are as `way_of` says."""
    routes = plan_routes(config, rule_set, lambda policy: route_mtu(config, policy, way_of))
    prefixes = sum(
        len(rule.prefixes) + sum(len(each.v4) + len(each.v6) for each in rule.lists)
        for rule in config.rules
    )
    return Plan(config.tun, routes, len(config.rules), prefixes)


def route_mtu(config: Config, policy: str, way_of: WayOf) -> int:
    """The largest packet in bytes by a policy, or by what its on_down leads to while it is down.

    Not below 1280 bytes, which every IPv6 link must take (RFC 8200, section 5).
    """
    applies = effective(config, policy, lambda name: bool(way_of(name)))
    mtus = [interface.mtu for interface in way_of(applies).values()]
    return max(min([config.tun.mtu, *mtus]), IPV6_MIN_MTU)
