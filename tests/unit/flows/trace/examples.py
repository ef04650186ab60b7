"""Filters, packets and decisions for property tests of traces."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrHopByHop

from router.flows.trace.decision import Decision

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
