"""Compiled filters against a slow and obvious reading of the same words by scapy."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import TCP, UDP

from router.flows.trace.decision import Decision
from router.flows.trace.matching import Filter
from router.flows.trace.words import parse
from tests.unit.flows.trace.examples import DECISIONS, PRIMITIVES, packets, words


def says(primitive: str, packet: Any, decision: Decision) -> Any:  # noqa: PLR0911
    word, _, value = primitive.partition(" ")
    ends = [ip_address(packet.src), ip_address(packet.dst)]
    upper = packet.getlayer(TCP) or packet.getlayer(UDP)
    match word:
        case "host":
            return ip_address(value) in ends
        case "net":
            return any(end in ip_network(value) for end in ends)
        case "port":
            return upper is not None and int(value) in (upper.sport, upper.dport)
        case "icmp":
            return upper is None
        case "tcp" | "udp":
            return packet.haslayer(TCP if word == "tcp" else UDP) == 1
        case "policy":
            return decision.policy == value
        case "rule":
            return decision.rule == int(value)
        case _:
            return decision.reason is not None


def expected(text: str, packet: Any, decision: Decision) -> bool:
    for primitive in sorted(PRIMITIVES, key=len, reverse=True):
        text = text.replace(primitive, str(says(primitive, packet, decision)))
    return bool(eval(text))  # of True, False, and, or, not, parentheses


@given(words(), packets(), DECISIONS, st.integers(0, 3))
def test_a_filter_matches_what_its_words_say(
    text: str, packet: Any, decision: Decision, before: int
) -> None:
    compiled = Filter(parse(text))
    data = bytes(before) + bytes(packet)
    matches = compiled.matches(data, before, len(data), decision)
    assert matches == expected(text, packet, decision)
    assert compiled.may_match(data, before, len(data)) >= matches
    if not compiled.needs_decision:
        assert compiled.may_match(data, before, len(data)) == matches


@given(words(), st.binary(max_size=80), DECISIONS)
def test_nothing_that_is_no_packet_raises(text: str, data: bytes, decision: Decision) -> None:
    compiled = Filter(parse(text))
    assert compiled.matches(data, 0, len(data), decision) <= compiled.may_match(data, 0, len(data))
