"""The rules in force: the policy of a packet, its outbound, and the tally that counts it.

Always true: a change of the rules is one step; no packet sees a part of it.

Must not know: the TUN, and what becomes of a packet.
"""

from __future__ import annotations

from collections.abc import Callable

from router.config.model import Config, Policy, PolicyType
from router.engine.carriers import Carriers
from router.engine.reload.reevaluate import Reevaluated, Reevaluation
from router.flows.tally import Tallies, Tally
from router.outbound.all import Outbounds
from router.outbound.base import Outbound
from router.policy.match.table import RuleSet
from router.policy.resolve import carrying, policy_of
from router.wire import icmp, ip
from router.wire.transport import destination_port

Covers = Callable[[str, int, int], bool]
"""By policy, IP version and destination: whether the system counts the answers; see
router.engine.direct.answers."""


class AppliedRules:
    """Those of a configuration. config, tallies: replaced when the rules are."""

    def __init__(
        self, config: Config, rules: RuleSet, outbounds: Outbounds, covers: Covers
    ) -> None:
        self.config = config
        self.tallies = Tallies()
        self._rules = rules
        self._outbounds = outbounds
        self._covers = covers

    def change(self, config: Config, rules: RuleSet, carriers: Carriers) -> dict[str, Reevaluated]:
        """Apply other rules, and end the flows about which they decide otherwise; what became of
        the flows, by protocol."""
        reevaluation = Reevaluation(
            self.config, config, rules, self._outbounds, self.tallies, self._covers
        )
        self.config, self._rules, self.tallies = config, rules, reevaluation.tallies
        reevaluated = carriers.reevaluate(reevaluation)
        self.tallies.settle()
        return reevaluated

    def count_again(self, carriers: Carriers) -> None:
        """What `covers` says has changed."""
        for flow in carriers.flows():
            tally = flow.tally
            covered = self._covers(
                tally.policy, flow.version, int.from_bytes(flow.destination, "big")
            )
            flow.move(self.tallies.of(tally.policy, tally.rule, is_counted_outside=covered))

    def decide(self, version: int, address: int, protocol: int, port: int) -> tuple[Policy, int]:
        """The policy that applies to packets to an address and port, and the index of the rule that
        named it; 0: the default."""
        rule = self._rules.decide(version, address, protocol, port)
        named = policy_of(self.config, rule)
        is_icmp = protocol == icmp.protocol_of(version)
        applies = carrying(self.config, named, self._outbounds.is_up, is_icmp=is_icmp)
        return self.config.policies[applies], rule

    def applied(self, named: str) -> set[Policy]:
        """The policies that apply at present to packets for which a rule names one, of any
        protocol."""
        is_up = self._outbounds.is_up
        names = {carrying(self.config, named, is_up, is_icmp=is_icmp) for is_icmp in (False, True)}
        return {self.config.policies[name] for name in names}

    def of_packet(self, packet: ip.Packet) -> tuple[Policy, Tally]:
        """The policy that applies to a packet, and the tally of the rule that named it."""
        address = int.from_bytes(packet.destination, "big")
        policy, rule = self.decide(
            packet.version, address, packet.protocol, destination_port(packet)
        )
        covered = self._covers(policy.name, packet.version, address)
        return policy, self.tallies.of(policy.name, rule, is_counted_outside=covered)

    def outbound_of(self, policy: Policy, version: int, address: int) -> Outbound | None:
        """That of packets to an address to which a policy applies; None where there is none.

        `bypass` in the TUN: a route matches no ports, so a rule for some of them captures the rest
        of its prefix as well. Such a packet leaves as if the TUN were not there.
        """
        if policy.type is PolicyType.BYPASS:
            return self._outbounds.by_system(version, address)
        return self.by_policy(policy)

    def by_policy(self, policy: Policy) -> Outbound | None:
        """That of a policy; None where it has none."""
        return self._outbounds.by_policy.get(policy.name)

    def captures(self, version: int, address: int) -> bool:
        """Whether a rule about an address names anything but `bypass`: then the TUN has a route to
        it."""
        policies = self.config.policies
        return any(
            policies[policy_of(self.config, rule)].type is not PolicyType.BYPASS
            for rule in self._rules.chain(version, address)
        )

    def depend_on_port(self, version: int, address: int) -> bool:
        """Whether not all packets to an address have the same rule."""
        return len(self._rules.chain(version, address)) > 1
