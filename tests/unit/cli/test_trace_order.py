"""Packets of a trace in the order of time, with those that this process has captured."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6

from router.cli.trace_order import HOLD, IDLE, InOrder
from router.flows.report import DIRECT, RELAYED
from router.flows.trace.decision import DROP, FORWARD, IN, OUT, Decision, Record
from router.flows.trace.matching import Filter
from router.flows.trace.words import parse
from router.platform.base.capture import Captured

OURS, FAR = "192.0.2.2", "198.51.100.1"
SENT = Decision(FORWARD, None, "home", 1, "eth0", DIRECT)


def query(identifier: int = 7, source: str = OURS) -> bytes:
    return bytes(IP(src=source, dst=FAR) / ICMP(id=identifier))


def answer(identifier: int = 7) -> bytes:
    return bytes(IP(src=FAR, dst=OURS) / ICMP(type=0, id=identifier))


def sent(at: float, data: bytes, decision: Decision = SENT, direction: str = OUT) -> Record:
    return Record(at, direction, len(data), data, decision)


def came(at: float, data: bytes) -> Captured:
    return Captured(at, len(data), data)


def in_order(words: str = "", *, captures: bool = True) -> InOrder:
    return InOrder(Filter(parse(words)), captures=captures)


def shown(order: InOrder, now: float) -> list[tuple[float, str]]:
    return [(each.time, each.direction) for each in order.ready(now)]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """As many flows and packets are kept at the most."""
    monkeypatch.setattr("router.cli.trace_order.MOST_FLOWS", 64)
    monkeypatch.setattr("router.cli.trace_order.MOST_HELD", 64)
    return 64


def test_an_answer_follows_its_query_and_has_its_decision() -> None:
    order = in_order()
    order.capture(came(10.01, answer()))
    order.add(sent(10.0, query()))
    assert shown(order, 10.0 + HOLD / 2) == []
    assert order.is_waiting
    found = list(order.ready(10.01 + HOLD))
    assert [(each.time, each.direction) for each in found] == [(10.0, OUT), (10.01, IN)]
    assert found[1].decision == SENT
    assert not order.is_waiting


def test_an_answer_may_come_before_the_router_reports_the_query() -> None:
    order = in_order()
    order.capture(came(10.01, answer()))
    assert shown(order, 10.1) == []
    order.add(sent(10.0, query()))
    assert shown(order, 10.01 + HOLD) == [(10.0, OUT), (10.01, IN)]


def test_what_belongs_to_no_flow_is_dropped_in_time() -> None:
    order = in_order()
    order.capture(came(10.0, answer()))
    assert shown(order, 10.0 + HOLD) == []
    assert not order.is_waiting


def test_only_flows_that_left_directly_have_captured_answers() -> None:
    """The router reports the answers of relayed ones itself; a dropped query has none."""
    for decision, direction in (
        (SENT._replace(path=RELAYED), OUT),
        (SENT._replace(verdict=DROP, reason="drop"), OUT),
        (SENT, IN),
    ):
        order = in_order()
        order.add(sent(10.0, query(), decision, direction))
        order.capture(came(10.01, answer()))
        assert [each.time for each in order.ready(11.0)] == [10.0]


def test_errors_belong_to_the_flow_that_they_quote() -> None:
    order = in_order()
    segment = IP(src=OURS, dst=FAR) / TCP(sport=5000, dport=443, flags="S")
    order.add(sent(10.0, bytes(segment)))
    error = bytes(IP(src="203.0.113.9", dst=OURS) / ICMP(type=11) / segment)
    other = bytes(IP(src="203.0.113.9", dst=OURS) / ICMP(type=11) / IP(src=OURS, dst=FAR) / UDP())
    order.capture(came(10.01, error))
    order.capture(came(10.02, other))
    assert shown(order, 11.0) == [(10.0, OUT), (10.01, IN)]


def test_a_query_that_comes_in_answers_nothing() -> None:
    order = in_order()
    order.add(sent(10.0, query()))
    order.capture(came(10.01, bytes(IP(src=FAR, dst=OURS) / ICMP(type=8, id=7))))
    assert shown(order, 11.0) == [(10.0, OUT)]


def test_the_filter_is_applied_to_what_is_captured() -> None:
    order = in_order("icmp and not host 203.0.113.9")
    order.add(sent(10.0, query()))
    quoting = IP(src="203.0.113.9", dst=OURS) / ICMP(type=11) / IP(query())
    order.capture(came(10.01, bytes(quoting)))
    order.capture(came(10.02, answer()))
    assert shown(order, 11.0) == [(10.0, OUT), (10.02, IN)]


def test_ipv6_is_no_different() -> None:
    ours, far = "2001:db8:2::2", "2001:db8:100::1"
    order = in_order("host 2001:db8:100::1")
    order.add(sent(10.0, bytes(IPv6(src=ours, dst=far) / ICMPv6EchoRequest(id=9))))
    order.capture(came(10.01, bytes(IPv6(src=far, dst=ours) / ICMPv6EchoReply(id=9))))
    order.capture(came(10.01, bytes(IPv6(src=far, dst=ours) / ICMPv6EchoReply(id=8))))
    assert shown(order, 11.0) == [(10.0, OUT), (10.01, IN)]


def test_answers_are_expected_while_a_flow_is_known_that_left_directly() -> None:
    order = in_order()
    assert not order.expects_answers
    order.add(sent(10.0, query(1), SENT._replace(path=RELAYED)))
    assert not order.expects_answers
    order.add(sent(10.0, query(2)))
    order.capture(came(60.0, answer(2)))
    shown(order, 60.0 + IDLE)
    assert order.expects_answers
    shown(order, 60.1 + IDLE)
    assert not order.expects_answers


def test_the_flow_that_is_idle_for_longest_is_forgotten_first(few: int) -> None:
    order = in_order()
    for number in range(few):
        order.add(sent(10.0, query(number)))
    order.capture(came(10.1, answer(0)))
    order.add(sent(10.2, query(few)))
    order.capture(came(10.3, answer(0)))
    order.capture(came(10.3, answer(1)))
    assert sum(direction == IN for _, direction in shown(order, 11.0)) == 2


def test_without_a_capture_nothing_waits() -> None:
    order = in_order(captures=False)
    order.add(sent(10.0, query()))
    assert shown(order, 10.0) == [(10.0, OUT)]
    assert not order.is_waiting


def test_no_more_than_so_much_is_kept(few: int) -> None:
    order = in_order()
    for number in range(few + 10):
        order.add(sent(10.0, query(number)))
    assert len(order._direct) == few
    for _ in range(few + 10):
        order.capture(came(10.0, answer(60_000)))
    assert len(order._unknown) == few


EVENT = st.tuples(st.integers(0, 20), st.booleans(), st.integers(1, 3))


@given(st.lists(EVENT, max_size=20))
def test_all_that_belong_are_shown_once_and_in_order(events: list[Any]) -> None:
    """However they are mixed: each query, and each answer to one that was reported by then."""
    order, expected = in_order(), 0
    known = {number for _, is_answer, number in events if not is_answer}
    for at, is_answer, number in events:
        if is_answer:
            order.capture(came(10.0 + at / 100, answer(number)))
            expected += number in known
        else:
            order.add(sent(10.0 + at / 100, query(number)))
            expected += 1
    found = [each.time for each in order.ready(20.0)]
    assert found == sorted(found)
    assert len(found) == expected


@given(st.binary(max_size=60))
def test_nothing_that_is_captured_raises(data: bytes) -> None:
    order = in_order()
    order.add(sent(10.0, query()))
    order.add(sent(10.0, data))
    order.capture(came(10.0, data))
    list(order.ready(11.0))
