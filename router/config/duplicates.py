"""The same network or range written twice where the second can't have an effect.

Always true: only networks and ranges of the rules file are compared, within one rule and between
rules that have the same protocols and ports; other overlaps of rules are checked by the policy
layer.

Must not know: policies.
"""

from __future__ import annotations

from collections.abc import Iterable

from router.config.cidr import network_text
from router.config.fields import Findings
from router.config.model import Place, Prefix, Range, Rule
from router.config.packed import LENGTH_BITS

_Condition = tuple[frozenset[str], tuple[tuple[int, int], ...]]
_Key = int | tuple[int, tuple[int, ...]]


def check_duplicates(findings: Findings, rules: Iterable[Rule]) -> None:
    """Warn at every repetition, naming the first place."""
    seen: dict[_Condition, dict[_Key, tuple[Rule, Prefix | Range]]] = {}
    for rule in rules:
        first = seen.setdefault((rule.protocols, rule.ports), {})
        for prefix in rule.prefixes:
            # The family goes into the lowest bit, so that 0.0.0.0/0 and ::/0 stay apart.
            packed = prefix.first << LENGTH_BITS | prefix.length
            key = packed << 1 | (prefix.version == 6)
            earlier = first.setdefault(key, (rule, prefix))
            if earlier[1] is not prefix:
                network = network_text(prefix.version, prefix.first, prefix.length)
                _report(findings, network, rule, prefix.place, *earlier)
        for each in rule.ranges:
            earlier = first.setdefault((each.version, each.packed), (rule, each))
            if earlier[1] is not each:
                _report(findings, str(each), rule, each.place, *earlier)


def _report(
    findings: Findings,
    what: str,
    rule: Rule,
    place: Place,
    first_rule: Rule,
    first: Prefix | Range,
) -> None:
    where = f"line {first.place.line}, column {first.place.column}"
    if rule is first_rule:
        message = f"{what} is already in this rule, on {where}"
        remedy = "remove one of the two"
    else:
        message = f"{what} is already in rule {first_rule.index}, on {where}"
        remedy = f"rule {first_rule.index} matches first: remove it here or there"
    findings.warning("duplicate-cidr", place, message, remedy)
