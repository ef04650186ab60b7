"""By which interfaces the answers come that a trace may show of packets which leave directly.

Always true: it is what rules and outbounds are at present. Answers arrive at the source of what
they answer, and are expected by the interface that has it.

Must not know: how answers are captured.
"""

from __future__ import annotations

from typing import Final

from router.config.model import PolicyType
from router.engine.forwarder import Forwarder
from router.flows.trace.simplified import NOTHING, of_rule
from router.flows.trace.words import Tree, policies, rules
from router.policy.resolve import policy_of

ANOTHER: Final = -1
"""Stands for all rules that a filter does not name."""


def answered_by(tree: Tree, forwarder: Forwarder) -> frozenset[int] | None:
    """Their indices; None: any. tree: the filter."""
    numbers = set(rules(tree))
    if not (numbers or policies(tree)) or of_rule(tree, None, None) != NOTHING:
        return None  # the last: answers of local servers, which no rule is about
    config = forwarder.config
    named = {(policy, ANOTHER) for policy in config.policies}
    named |= {
        (policy_of(config, number), number) for number in numbers if number <= len(config.rules)
    }
    found: set[int] = set()
    for name, rule in named:
        for policy in forwarder.rules.applied(name):
            if of_rule(tree, policy.name, rule) == NOTHING:
                continue
            if policy.type is PolicyType.BYPASS:
                return None
            found.update(forwarder.direct.interfaces_of(forwarder.rules.by_policy(policy)))
    return frozenset(found)
