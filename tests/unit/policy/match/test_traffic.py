"""Conditions on protocol and port: for one flow, and as masks over all traffic."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from router.config.model import Config, Rule
from router.policy.match.traffic import TrafficClasses, condition, describe
from tests.unit.policy import oracle
from tests.unit.policy.configs import config, configs, ports, protocol_sets, rule

conditional = st.builds(
    lambda protocols, allowed: rule("home", protocols=protocols, ports=allowed),
    protocol_sets,
    ports,
).filter(lambda item: item.conditional)


@given(conditional)
def test_a_condition_matches_as_the_oracle(item: Rule) -> None:
    for flow in oracle.flows(config(item)):
        assert condition(item).matches(*flow) == oracle.fits(item, *flow)


@given(st.lists(conditional, min_size=2, max_size=4))
def test_masks_are_the_union_of_what_rules_cover(items: list[Rule]) -> None:
    traffic = TrafficClasses(items)
    *earlier, later = items
    covered = 0
    for item in earlier:
        covered |= traffic.mask(item)
    expected = all(
        any(oracle.fits(item, *flow) for item in earlier)
        for flow in oracle.flows(config(*items))
        if oracle.fits(later, *flow)
    )
    assert (traffic.mask(later) & ~covered == 0) == expected
    assert covered != traffic.everything


@given(configs(versions=(4,)), st.sampled_from([1, 58, 6, 17, 47]), st.integers(0, 65535))
def test_the_mask_of_a_flow_meets_the_rules_it_fits(
    rules: Config, protocol: int, port: int
) -> None:
    items = rules.rules
    traffic = TrafficClasses(items, port)
    flow = traffic.mask_of(protocol, port)
    for item in items:
        assert bool(traffic.mask(item) & flow) == oracle.fits(item, protocol, port)


def test_more_conditions_than_masks_are_kept() -> None:
    items = [rule("home", ports=[(port, port)]) for port in range(3000)]
    traffic = TrafficClasses(items)
    masks = [traffic.mask(item) for item in items]
    assert masks == [traffic.mask(item) for item in items]
    assert len(set(masks)) == len(items)


def test_words() -> None:
    assert describe(rule("home", protocols=["icmp"])) == "icmp"
    assert describe(rule("home", protocols=["udp", "tcp"])) == "tcp or udp"
    assert describe(rule("home", ports=[(53, 53), (8000, 8100)])) == (
        "tcp or udp port 53, 8000-8100"
    )
    assert describe(rule("home", protocols=["tcp"], ports=[(22, 22)])) == "tcp port 22"
