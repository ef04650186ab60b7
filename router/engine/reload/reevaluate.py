"""Which flows are kept when the rules change.

Always true: a flow is kept exactly if its packets still come to us and the rule that now decides
about them either demands the same as the one before (even where the flow has been sent by
`on_down` meanwhile), or would give a new flow the same outbound.

Must not know: how flows are ended.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import NamedTuple

from router.config.model import BUILT_IN, Config, Policy, PolicyType, Proxy
from router.flows.flow import Flow, FlowT
from router.flows.tally import Tallies, Tally
from router.outbound.all import Outbounds
from router.outbound.base import Outbound
from router.policy.match.table import RuleSet
from router.policy.resolve import carrying, policy_of
from router.policy.routes.capture import is_captured
from router.wire import icmp


class Reevaluated(NamedTuple):
    """How many flows are kept, and how many are ended."""

    kept: int = 0
    ended: int = 0


class Behaviour(NamedTuple):
    """Of a policy and what its `on_down` leads to: what they do, without names and places."""

    names: tuple[str, ...]
    does: tuple[Policy, ...]


class Reevaluation:
    """From the rules of `before` to others.

    outbounds: those of both. tallies: those of the former rules; those of the others are
    `tallies`. covers: see router.engine.applied_rules.
    """

    def __init__(
        self,
        before: Config,
        config: Config,
        rules: RuleSet,
        outbounds: Outbounds,
        tallies: Tallies,
        covers: Callable[[str, int, int], bool],
    ) -> None:
        self._covers = covers
        self.tallies = tallies.renumbered(same_rules(before, config, tallies.rules()))
        self._before = before
        self._config = config
        self._rules = rules
        self._outbounds = outbounds
        self._then = {name: behaviour(before, name) for name in before.policies}
        self._now = {name: behaviour(config, name) for name in config.policies}

    def divide(self, flows: Iterable[FlowT]) -> tuple[int, list[FlowT]]:
        """Count each flow to the tally of the rule that now decides about it; how many are kept,
        and those that have to end."""
        kept, ended = 0, []
        for flow in flows:
            tally, is_kept = self._evaluate(flow)
            flow.move(tally)
            if is_kept:
                kept += 1
            else:
                ended.append(flow)
        return kept, ended

    def _evaluate(self, flow: Flow[Outbound]) -> tuple[Tally, bool]:
        """The tally that a flow counts in now, and whether it is kept."""
        version, address = flow.version, int.from_bytes(flow.destination, "big")
        decides = self._rules.decide(version, address, flow.protocol, flow.destination_port)
        then = self._then[policy_of(self._before, flow.tally.rule)]
        named = policy_of(self._config, decides)
        now = self._now[named]
        is_icmp = flow.protocol == icmp.protocol_of(version)
        applies = carrying(self._config, named, self._outbounds.is_up, is_icmp=is_icmp)
        if then.does == now.does and flow.tally.policy in then.names:
            is_kept = True
            applies = now.names[then.names.index(flow.tally.policy)]
        else:
            is_kept = self._outbound(applies, version, address) is flow.outbound
        if named == PolicyType.BYPASS:
            # What bypasses the TUN for some ports may now do so for all.
            is_kept &= is_captured(self._config, self._rules, version, address)
        covered = self._covers(applies, version, address)
        return self.tallies.of(applies, decides, is_counted_outside=covered), is_kept

    def _outbound(self, policy: str, version: int, address: int) -> Outbound | None:
        """The one that a new flow would go by a policy that is up."""
        if policy == PolicyType.BYPASS:
            return self._outbounds.by_system(version, address)
        return self._outbounds.by_policy.get(policy)


def behaviour(config: Config, name: str) -> Behaviour:
    """See Behaviour."""
    chain: dict[str, Policy] = {}
    following: str | None = name
    while following is not None and following not in chain:
        policy = chain[following] = config.policies[following]
        following = policy.on_down
        if following is None and policy.type not in BUILT_IN:
            following = PolicyType.REJECT.value
    return Behaviour(tuple(chain), tuple(map(_bare, chain.values())))


def _bare(policy: Policy) -> Policy:
    return replace(
        policy,
        name="",
        place=None,
        interface_place=None,
        on_down=None,
        on_down_place=None,
        proxy=_bare_proxy(policy.proxy),
    )


def _bare_proxy(proxy: Proxy | None) -> Proxy | None:
    """Another server, user or password is for new flows: those that exist go on."""
    return proxy and replace(proxy, host="", port=0, credentials=None)


def same_rules(before: Config, after: Config, wanted: Collection[int]) -> dict[int, int]:
    """Of the wanted ones of the former rules, by number: the numbers of those that go on, as they
    stand in the file word for word. Of several that are equal the first is the first."""
    texts = {before.rules[rule - 1].text for rule in wanted if rule}
    places: dict[tuple[str, str], deque[int]] = defaultdict(deque)
    for rule in after.rules:
        if rule.text in texts:
            places[rule.text, rule.policy].append(rule.index)
    same = {}
    for rule in before.rules:
        if rule.text in texts and (left := places[rule.text, rule.policy]):
            same[rule.index] = left.popleft()
    if before.default == after.default:
        same[0] = 0
    return same
