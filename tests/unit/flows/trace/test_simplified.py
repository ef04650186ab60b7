"""What is left of a filter of which a part is known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP

from router.flows.trace.decision import Decision
from router.flows.trace.fields import read
from router.flows.trace.matching import Filter
from router.flows.trace.simplified import NOTHING, of_forwarded, of_pair, of_rule
from router.flows.trace.words import EVERYTHING, Tree, parse, policies, rules
from tests.unit.flows.trace.examples import packets, words

RULES = st.sampled_from((("home", 2), ("office", 0), ("home", 1), (None, None)))


@given(words(), packets(), RULES)
def test_what_is_left_matches_the_same(text: str, packet: Any, applied: Any) -> None:
    policy, rule = applied
    tree, data = parse(text), bytes(packet)
    decision = Decision("forward", None, policy, rule)
    matches = Filter(tree).matches(data, 0, len(data), decision)
    for left in (of_forwarded(tree), of_rule(tree, policy, rule)):
        assert Filter(left).matches(data, 0, len(data), decision) == matches
    left = of_rule(tree, policy, rule)
    assert not (policies(left) or rules(left))


@given(words(), packets(), RULES, st.booleans(), st.sampled_from((None, "policy")))
def test_what_is_left_of_a_pair_matches_the_same(
    text: str, packet: Any, applied: Any, is_known: bool, reason: str | None
) -> None:
    tree, data = parse(text), bytes(packet)
    fields = read(data, 0, len(data))
    assume(fields is not None)
    assert fields is not None
    left = of_pair(tree, fields, applied if is_known else None)
    decision = Decision("forward", reason, *applied)
    matches = Filter(tree).matches(data, 0, len(data), decision)
    assert Filter(left).matches(data, 0, len(data), decision) == matches


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("host 192.0.2.2", EVERYTHING),
        ("net 198.51.100.0/24 and tcp", parse("tcp")),
        ("host 192.0.2.3", NOTHING),
        ("net ::/0", NOTHING),
        ("host 192.0.2.3 or dropped", parse("dropped")),
        ("policy office and port 443", NOTHING),
        ("rule 4 and not host 192.0.2.3", EVERYTHING),
    ],
)
def test_of_a_pair(text: str, left: Tree) -> None:
    packet = bytes(IP(src="192.0.2.2", dst="198.51.100.6") / TCP())
    fields = read(packet, 0, len(packet))
    assert fields is not None
    assert of_pair(parse(text), fields, ("home", 4)) == left


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("dropped", NOTHING),
        ("not dropped", EVERYTHING),
        ("tcp and dropped", NOTHING),
        ("tcp or dropped", parse("tcp")),
        ("policy home and port 443", parse("port 443")),
        ("policy office and port 443", NOTHING),
        ("not policy home", NOTHING),
        ("not policy office or udp", EVERYTHING),
        ("rule 3 or rule 4 and udp", parse("udp")),
        ("(rule 3 or udp) and (policy home and tcp)", parse("udp and tcp")),
    ],
)
def test_of_a_rule(text: str, left: Tree) -> None:
    assert of_rule(parse(text), "home", 4) == left
