"""The rules, and the network that they are held against, with what follows from both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from router.config.model import LENGTH_BITS, Config, Place, PolicyType, Rule
from router.policy.interfaces import InterfacesNow, facts_of, interfaces_now
from router.policy.match.table import RuleSet
from router.policy.network import Network
from router.policy.prefixes import HOST_MASKS, LENGTH_MASK, range_with
from router.policy.resolve import policy_of
from router.policy.routes.capture import Route
from router.policy.routes.exempt import leaves_by
from router.policy.routes.fib import Kernel, PlannedRoutes
from router.policy.routes.plan import Plan, make_plan


@dataclass(frozen=True, slots=True)
class Situation:
    """`ways` has the policies with an interface; `kernel` has the planned routes and
    `kernel_alone` has not."""

    config: Config
    rule_set: RuleSet
    network: Network
    outbounds: Mapping[str, InterfacesNow]
    plan: Plan
    planned: PlannedRoutes
    kernel: Kernel
    kernel_alone: Kernel

    @classmethod
    def of(cls, config: Config, rule_set: RuleSet, network: Network) -> Situation:
        """Everything that follows from rules and network."""
        outbounds = interfaces_now(config.policies, network)
        plan = make_plan(config, rule_set, facts_of(outbounds), network.endpoints)
        planned = PlannedRoutes(plan.routes)
        return cls(
            config,
            rule_set,
            network,
            outbounds,
            plan,
            planned,
            Kernel(network, planned),
            Kernel(network, PlannedRoutes(())),
        )

    def is_up(self, policy: str) -> bool:
        """Whether a policy with an interface could send now."""
        return bool(self.outbounds.get(policy))

    def enters_tun(self, version: int, address: int) -> bool:
        """Whether the kernel would send packets to an address into the TUN."""
        return isinstance(self.kernel.choose(version, address), Route)

    def decide(self, version: int, address: int, protocol: int, port: int) -> int:
        """The index of the rule for a flow; 0 for the default."""
        return self.rule_set.decide(version, address, protocol, port)

    def policy_of(self, rule_index: int) -> str:
        return policy_of(self.config, rule_index)

    def leaves_by(self, policy: str, interface: str) -> bool:
        """Whether a policy's way out is the interface, be it up or not."""
        return leaves_by(self.config, policy, interface, facts_of(self.outbounds))


def covering_place(config: Config, rule_index: int, version: int, address: int) -> Place | None:
    """Where the prefix stands by which a rule covers an address; for 0, the default."""
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
    """Where one of a rule's own prefixes stands first, by itself or else as part of a range."""
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
