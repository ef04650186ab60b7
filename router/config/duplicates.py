"""The same network written twice where the second can't have an effect.

Always true: only networks of the rules file are compared, within one rule and between rules that
ask for the same protocols and ports; what rules hide from each other beyond that is for the policy
layer to say.

Must not know: policies.
"""

from __future__ import annotations

from collections.abc import Iterable

from router.config.cidr import network_text
from router.config.fields import Findings
from router.config.model import LENGTH_BITS, Prefix, Rule

_Condition = tuple[frozenset[str], tuple[tuple[int, int], ...]]


def check_duplicates(findings: Findings, rules: Iterable[Rule]) -> None:
    """Warn at every repetition, naming the first place."""
    seen: dict[_Condition, dict[int, tuple[Rule, Prefix]]] = {}
    for rule in rules:
        first = seen.setdefault((rule.protocols, rule.ports), {})
        for prefix in rule.prefixes:
            # The family goes into the lowest bit, so that 0.0.0.0/0 and ::/0 stay apart.
            packed = prefix.first << LENGTH_BITS | prefix.length
            key = packed << 1 | (prefix.version == 6)
            earlier = first.setdefault(key, (rule, prefix))
            if earlier[1] is not prefix:
                _report(findings, rule, prefix, *earlier)


def _report(
    findings: Findings, rule: Rule, prefix: Prefix, first_rule: Rule, first: Prefix
) -> None:
    network = network_text(prefix.version, prefix.first, prefix.length)
    where = f"line {first.place.line}, column {first.place.column}"
    if rule is first_rule:
        message = f"{network} is already in this rule, on {where}"
        remedy = "remove one of the two"
    else:
        message = f"{network} is already in rule {first_rule.index}, on {where}"
        remedy = f"rule {first_rule.index} matches first: remove the network here or there"
    findings.warning("duplicate-cidr", prefix.place, message, remedy)
