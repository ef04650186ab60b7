"""Compiled filters against a slow and obvious reading of the same words by scapy."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrHopByHop

from router.flows.trace.decision import Decision
from router.flows.trace.matching import Filter
from router.flows.trace.words import parse

ADDRESSES = {4: ("192.0.2.1", "192.0.2.200", "10.0.0.1"), 6: ("2001:db8::1", "fd00::1")}
PORTS = (53, 443, 1000)
PRIMITIVES = (
    *("host 192.0.2.1", "host 2001:db8::1", "net 192.0.2.128/25", "net 192.0.2.0/24"),
    *("net fd00::/16", "net 0.0.0.0/0", "port 53", "port 443", "icmp", "tcp", "udp"),
    *("policy home", "rule 0", "rule 2", "dropped"),
)
DECISIONS = st.builds(
    Decision,
    st.just("forward"),
    st.sampled_from((None, "rejected")),
    st.sampled_from(("home", "office", None)),
    st.sampled_from((0, 1, 2, None)),
)


@st.composite
def packets(draw: st.DrawFn) -> Any:
    version = draw(st.sampled_from((4, 6)))
    source, destination = (draw(st.sampled_from(ADDRESSES[version])) for _ in range(2))
    head = (IP if version == 4 else IPv6)(src=source, dst=destination)
    if version == 6 and draw(st.booleans()):
        head /= IPv6ExtHdrHopByHop()
    ports: Any = {"sport": draw(st.sampled_from(PORTS)), "dport": draw(st.sampled_from(PORTS))}
    echo = ICMP() if version == 4 else ICMPv6EchoRequest()
    return head / draw(st.sampled_from((echo, TCP(**ports), UDP(**ports))))


def words() -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(PRIMITIVES),
        lambda inner: st.one_of(
            inner.map(lambda text: f"not ({text})"),
            st.tuples(inner, st.sampled_from(("and", "or")), inner).map(
                lambda parts: f"({parts[0]}) {parts[1]} ({parts[2]})"
            ),
        ),
        max_leaves=6,
    )


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
