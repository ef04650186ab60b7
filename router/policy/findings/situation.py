"""Rules and the network that they are checked against, with all that is derived from both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from router.config.model import Config, Place, PolicyType, Rule
from router.config.packed import LENGTH_BITS
from router.policy.interfaces import (
    FactsOf,
    OutboundFacts,
    UsableInterfaces,
    facts_of,
    interfaces_by_policy,
    leaves_by,
)
from router.policy.match.table import RuleSet
from router.policy.network import Network, Sources
from router.policy.prefixes import HOST_MASKS, LENGTH_MASK, range_with
from router.policy.proxies import facts_of_proxies, known_servers
from router.policy.resolve import policy_of
from router.policy.routes.fib import Fib, PlannedRoutes
from router.policy.routes.plan import Plan, make_plan
from router.policy.routes.route import Route


@dataclass(frozen=True, slots=True)
class Situation:
    """`interfaces` has the policies with an interface; `fib` has the planned routes, `system_fib`
    has not; `proxies` has the policies with a proxy that has a way. `installed`: version, first
    address and length of the routes to a TUN that a router has installed."""

    config: Config
    rule_set: RuleSet
    network: Network
    interfaces: Mapping[str, UsableInterfaces]
    plan: Plan
    planned: PlannedRoutes
    fib: Fib
    system_fib: Fib
    proxies: Mapping[str, OutboundFacts]
    installed: frozenset[tuple[int, int, int]]

    @classmethod
    def of(cls, config: Config, rule_set: RuleSet, network: Network) -> Situation:
        """Everything that follows from rules and network."""
        interfaces = interfaces_by_policy(config.policies, network)
        proxies = facts_of_proxies(config, interfaces)
        facts = facts_of(interfaces, _direct(network), proxies)
        servers = tuple(known_servers(config))
        plan = make_plan(config, rule_set, facts, network.endpoints, servers)
        planned = PlannedRoutes(plan.routes)
        return cls(
            config,
            rule_set,
            network,
            interfaces,
            plan,
            planned,
            Fib(network, planned),
            Fib(network, PlannedRoutes(())),
            proxies,
            frozenset(route[:3] for route in network.routes if route.ours),
        )

    @property
    def facts(self) -> FactsOf:
        """What the plan has followed from, by policy."""
        return facts_of(self.interfaces, _direct(self.network), self.proxies)

    def is_up(self, policy: str) -> bool:
        """Whether a policy with an interface or a proxy could send now."""
        return bool(self.interfaces.get(policy)) or policy in self.proxies

    def enters_tun(self, version: int, address: int) -> bool:
        """Whether the kernel would send packets to an address into the TUN."""
        return isinstance(self.fib.lookup(version, address), Route)

    def decide(self, version: int, address: int, protocol: int, port: int) -> int:
        """The index of the rule for a flow; 0 for the default."""
        return self.rule_set.decide(version, address, protocol, port)

    def policy_of(self, rule_index: int) -> str:
        return policy_of(self.config, rule_index)

    def leaves_by(self, policy: str, interface: str) -> bool:
        """Whether packets of a policy leave by an interface, also while it is not usable."""
        wanted = self.config.policies[policy].interface
        return leaves_by(wanted, interface, facts_of(self.interfaces)(policy))


def _direct(network: Network) -> Sources:
    """The sources that routes name: none where the host's rules keep packets from the direct
    path."""
    obstacles = network.host_rules.obstacles
    return {key: ranges for key, ranges in network.sources.items() if key[0] not in obstacles}


def covering_place(config: Config, rule_index: int, version: int, address: int) -> Place | None:
    """The place of the prefix by which a rule covers an address; for 0, of the default."""
    found = covering(config, rule_index, version, address)
    return found[1] if found else config.default_place


def covering(
    config: Config, rule_index: int, version: int, address: int
) -> tuple[int, Place] | None:
    """(packed prefix, place) of the longest prefix of a rule that covers an address."""
    if not rule_index:
        return None
    best: tuple[int, Place] | None = None
    for packed, place in _places(config.rules[rule_index - 1], version, address):
        if best is None or packed & LENGTH_MASK > best[0] & LENGTH_MASK:
            best = packed, place
    return best


def _places(rule: Rule, version: int, address: int) -> Iterator[tuple[int, Place]]:
    masks = HOST_MASKS[version]
    for prefix in rule.prefixes:
        if prefix.version == version and address ^ prefix.first <= masks[prefix.length]:
            yield prefix.first << LENGTH_BITS | prefix.length, prefix.place
    for each in rule.lists:
        for position, packed in enumerate(each.packed(version)):
            if address ^ (packed >> LENGTH_BITS) <= masks[packed & LENGTH_MASK]:
                yield packed, each.place(version, position)
    for whole in rule.all_ranges(version):
        if whole.first <= address <= whole.last:
            for packed in whole.packed:
                if address ^ (packed >> LENGTH_BITS) <= masks[packed & LENGTH_MASK]:
                    yield packed, whole.place


def place_of_prefix(rule: Rule, version: int, first: int, length: int) -> Place:
    """The first place of one of a rule's own prefixes, by itself or else as part of a range."""
    for prefix in rule.prefixes:
        if (prefix.version, prefix.first, prefix.length) == (version, first, length):
            return prefix.place
    wanted = first << LENGTH_BITS | length
    for each in rule.lists:
        packed = each.packed(version)
        if wanted in packed:
            return each.place(version, packed.index(wanted))
    whole = range_with(rule, version, wanted)
    return whole.place if whole else rule.place


def captures(policy: str) -> bool:
    """Whether traffic of a policy goes through the TUN."""
    return policy != PolicyType.BYPASS
