"""The explanation of one address."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.config.model import Config
from router.policy.explain import NEAR_MISSES, Branch, Explanation, Skipped, explain
from router.policy.match.table import RuleSet
from tests.unit.examples import examples
from tests.unit.policy import oracle
from tests.unit.policy.configs import config, configs, large_list, rule


def explained(
    rules: Config, destination: str, protocol: int | None = None, port: int | None = None
) -> Explanation:
    address = ip_address(destination)
    rule_set = RuleSet.build(rules)
    return explain(rules, rule_set, address.version, int(address), protocol, port)


@settings(max_examples=examples(100))
@given(configs(), st.data())
def test_the_explained_rule_is_the_one_that_decides(rules: Config, data: st.DataObject) -> None:
    rule_set = RuleSet.build(rules)
    version = data.draw(st.sampled_from([4, 6]))
    address = data.draw(st.sampled_from(oracle.boundaries(rules, version)))
    for flow in oracle.flows(rules):
        explanation = explain(rules, rule_set, version, address, *flow)
        assert explanation.rule_index == oracle.decide(rules, version, address, flow)
        assert explanation.branches == ()
        assert all(
            explanation.rule_index == 0 or skipped.rule_index < explanation.rule_index
            for skipped in explanation.skipped
        )
        unfit = [s.rule_index for s in explanation.skipped if s.why.startswith("only for")]
        end = explanation.rule_index - 1 if explanation.rule_index else len(rules.rules)
        assert unfit == [
            item.index for item in rules.rules[:end] if oracle.covers(item, version, address)
        ]


@settings(max_examples=examples(100))
@given(configs(), st.data())
def test_the_branches_are_all_that_can_happen(rules: Config, data: st.DataObject) -> None:
    rule_set = RuleSet.build(rules)
    version = data.draw(st.sampled_from([4, 6]))
    address = data.draw(st.sampled_from(oracle.boundaries(rules, version)))
    flows = oracle.flows(rules)
    for protocol in (None, 1, 6, 17, 47):
        explanation = explain(rules, rule_set, version, address, protocol)
        possible = {
            oracle.decide(rules, version, address, flow)
            for flow in flows
            if protocol is None or flow[0] == protocol
        }
        indices = [branch.rule_index for branch in explanation.branches] or [explanation.rule_index]
        assert set(indices) == possible
        assert len(set(indices)) == len(indices)
        assert explanation.rule_index == indices[-1]


def test_a_rule_for_another_protocol_is_skipped_with_the_reason() -> None:
    rules = config(rule("office", "10.0.0.0/8", protocols=["tcp"]), rule("home", "10.1.0.0/16"))
    assert explained(rules, "10.1.2.3", 1) == Explanation(
        2, (Skipped(1, "only for tcp; asked for icmp"),)
    )
    assert explained(rules, "10.1.2.3", 47).skipped == (
        Skipped(1, "only for tcp; asked for protocol 47"),
    )


def test_a_range_that_just_misses_is_shown_as_written() -> None:
    rules = config(rule("office", "192.0.2.10-192.0.2.99"), rule("home", "fd00::1-fd00::6"))
    assert explained(rules, "192.0.2.100").skipped == (
        Skipped(1, "192.0.2.10-192.0.2.99 ends at 192.0.2.99"),
    )
    assert explained(rules, "192.0.2.9").skipped == (
        Skipped(1, "192.0.2.10-192.0.2.99 begins at 192.0.2.10"),
    )
    assert explained(rules, "fd00::7").skipped == (Skipped(2, "fd00::1-fd00::6 ends at fd00::6"),)


def test_a_rule_for_another_port_is_skipped_with_the_reason() -> None:
    rules = config(
        rule("office", "10.0.0.0/8", ports=[(443, 443), (8000, 8100)]),
        rule("home", "10.0.0.0/8", protocols=["udp"], ports=[(53, 53)]),
    )
    assert explained(rules, "10.1.2.3", 6, 80).skipped == (
        Skipped(1, "only for tcp or udp port 443, 8000-8100; asked for tcp port 80"),
        Skipped(2, "only for udp port 53; asked for tcp port 80"),
    )
    assert explained(rules, "10.1.2.3", None, 80).skipped[1] == Skipped(
        2, "only for udp port 53; asked for port 80"
    )


def test_without_a_protocol_each_outcome_is_reported() -> None:
    rules = config(
        rule("office", "10.0.0.0/8", protocols=["tcp"]),
        rule("drop", "10.0.0.0/8", protocols=["tcp"], ports=[(25, 25)]),
        rule("home", "10.0.0.0/8", protocols=["udp", "icmp"]),
    )
    assert explained(rules, "10.1.2.3") == Explanation(
        0,
        (Skipped(2, "only for tcp port 25, which earlier rules take"),),
        (Branch(1, "tcp"), Branch(3, "icmp or udp"), Branch(0, "anything else")),
    )


def test_without_a_port_each_outcome_of_the_protocol_is_reported() -> None:
    rules = config(
        rule("office", "10.0.0.0/8", protocols=["icmp"]),
        rule("drop", "10.0.0.0/8", ports=[(25, 25)]),
        rule("home", "10.0.0.0/8", protocols=["tcp"]),
    )
    assert explained(rules, "10.1.2.3", 6) == Explanation(
        3,
        (Skipped(1, "only for icmp; asked for tcp"),),
        (Branch(2, "tcp or udp port 25"), Branch(3, "anything else")),
    )


@pytest.mark.parametrize(
    ("cidr", "destination", "why"),
    [
        ("10.0.0.0/16", "10.1.2.3", "10.0.0.0/16 ends at 10.0.255.255"),
        ("10.2.0.0/16", "10.1.2.3", "10.2.0.0/16 begins at 10.2.0.0"),
        ("192.0.2.7/32", "192.0.2.9", "192.0.2.7/32 ends at 192.0.2.7"),
        (
            "2001:db8:1::/48",
            "2001:db8:2::1",
            "2001:db8:1::/48 ends at 2001:db8:1:ffff:ffff:ffff:ffff:ffff",
        ),
        ("2001:db8::7/128", "2001:db8::1:0:9", "2001:db8::7/128 ends at 2001:db8::7"),
    ],
)
def test_a_prefix_that_just_misses_is_reported(cidr: str, destination: str, why: str) -> None:
    (skipped,) = explained(config(rule("home", cidr)), destination, 6, 80).skipped
    assert skipped == Skipped(1, why)


@pytest.mark.parametrize(
    ("cidr", "destination"),
    [
        ("10.0.0.0/16", "10.2.2.3"),
        ("192.0.2.7/32", "192.0.4.9"),
        ("0.0.0.0/1", "192.0.2.1"),
        ("2001:db8::7/128", "2001:db8:0:2::9"),
        ("::a01:203/128", "10.1.2.3"),
    ],
)
def test_a_prefix_far_away_is_not_reported(cidr: str, destination: str) -> None:
    assert explained(config(rule("home", cidr)), destination, 6, 80) == Explanation(0, ())


def test_only_the_nearest_misses_are_listed_in_the_order_of_the_rules() -> None:
    hosts = [rule("home", f"192.0.2.{100 - 2 * number}/32") for number in range(12)]
    skipped = explained(config(*hosts), "192.0.2.101", 6, 80).skipped
    assert [item.rule_index for item in skipped] == list(range(1, NEAR_MISSES + 1))


def test_rules_behind_the_one_that_decides_are_not_reported() -> None:
    rules = config(rule("home", "10.1.0.0/16"), rule("home", "10.0.0.0/16"))
    assert explained(rules, "10.1.2.3", 6, 80) == Explanation(1, ())


def test_of_a_large_list_the_nearest_prefix_is_reported() -> None:
    rules = config(rule("home", lists=(large_list(5000, 4, 24),)))
    (skipped,) = explained(rules, "0.0.5.9", 6, 80).skipped
    assert skipped == Skipped(1, "0.0.4.0/24 ends at 0.0.4.255")
