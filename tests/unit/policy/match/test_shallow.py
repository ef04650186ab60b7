"""One flattening serves both the findings and the lookups."""

from __future__ import annotations

from hypothesis import given, settings

from router.config.model import Config
from router.policy.match.coverage import RuleCoverage
from router.policy.match.flatten import flatten, shallow
from router.policy.match.table import RuleSet
from tests.unit.examples import examples
from tests.unit.policy import oracle
from tests.unit.policy.configs import configs

PROPERTIES = settings(max_examples=examples(80))


@PROPERTIES
@given(configs())
def test_ranges_flattened_deep_and_cut_are_those_flattened_shallow(rules: Config) -> None:
    for version in (4, 6):
        direct = flatten(rules.rules, version)
        cut = shallow(flatten(rules.rules, version, depth=2), rules.rules)
        assert list(cut.starts) == list(direct.starts)
        assert [cut.chains[number] for number in cut.chain_ids] == [
            direct.chains[number] for number in direct.chain_ids
        ]


@PROPERTIES
@given(configs())
def test_a_rule_set_for_few_lookups_decides_as_the_oracle(rules: Config) -> None:
    shared = RuleSet.for_few_lookups(rules, RuleCoverage(rules, rules.rules).ranges)
    for rule_set in (shared, RuleSet.for_few_lookups(rules)):
        for version in (4, 6):
            for address in oracle.boundaries(rules, version):
                for flow in oracle.flows(rules):
                    decided = rule_set.decide(version, address, *flow)
                    assert decided == oracle.decide(rules, version, address, flow)
