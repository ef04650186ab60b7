"""The lines of a trace: the first one, packets, what was left out; and filters that are refused."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.config.loader import load
from router.config.model import Config
from router.control.trace import BETWEEN, of_trace, trace_filter
from router.engine.observer.trace import AT_ONCE, MOST_WAITING, Trace
from router.flows.trace.decision import FORWARD, OUT, Decision, Record
from router.flows.trace.words import BadFilterError

RULES = """\
version: 1
policies:
  home: {type: direct, interface: eth0}
rules:
  - {cidr: 198.51.100.1, policy: home}
"""
DECISION = Decision(FORWARD, None, "home", 1, "eth0", "relayed", bytes([192, 0, 2, 2]), 77)
RECORD = Record(1.25, OUT, 1500, b"\x45\0\1", DECISION)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES)
    loaded = load(file).config
    assert loaded is not None
    return loaded


class Follower:
    """What a client gets; the clock is the test's."""

    def __init__(self, config: Config, words: str = "") -> None:
        self.now = 100.0
        self.traces: list[Trace] = []
        self.woken = 0
        self.later: list[float] = []
        self.interfaces: frozenset[int] | None = None
        self.feed = of_trace(
            self, trace_filter({"filter": words}, config), "tun11", self, self.wake
        )

    def add(self, trace: Trace) -> None:
        self.traces.append(trace)

    def remove(self, trace: Trace) -> None:
        self.traces.remove(trace)

    def answered_by(self, trace: Trace) -> frozenset[int] | None:
        assert trace in self.traces
        return self.interfaces

    def call_later(self, delay: float, callback: Callable[[], None]) -> None:
        self.later.append(delay)

    def wake(self) -> None:
        self.woken += 1

    def next(self) -> list[dict[str, Any]] | None:
        piece = next(self.feed)
        return None if piece is None else [json.loads(line) for line in piece.splitlines()]


def test_lines_until_the_client_leaves(config: Config) -> None:
    follower = Follower(config, "rule 1")
    assert follower.next() == [{"tracing": "tun11", "answered_by": None}]
    (trace,) = follower.traces
    assert follower.next() is None
    trace.add(RECORD)
    assert follower.woken == 1
    (line,) = follower.next() or [{}]
    assert b64decode(line.pop("packet")) == RECORD.data
    assert line == {
        **{"time": 1.25, "direction": "out", "length": 1500, "verdict": "forward"},
        **{"reason": None, "rule": 1, "policy": "home", "interface": "eth0", "path": "relayed"},
        **{"outside": "192.0.2.2", "outside_port": 77},
    }
    assert follower.next() is None
    follower.feed.close()
    assert follower.traces == []


def test_other_interfaces_are_reported_when_they_have_changed(config: Config) -> None:
    follower = Follower(config, "policy home")
    follower.interfaces = frozenset((7, 3))
    assert follower.next() == [{"tracing": "tun11", "answered_by": [3, 7]}]
    (trace,) = follower.traces
    for interfaces in (frozenset((3, 7)), frozenset((12,)), frozenset[int](), None):
        before, follower.interfaces = follower.interfaces, interfaces
        assert follower.next() is None, "it is not asked for in vain"
        trace.note_change()
        trace.add(RECORD)
        lines = follower.next() or []
        assert "packet" in lines.pop()
        shown = None if interfaces is None else sorted(interfaces)
        assert lines == ([] if interfaces == before else [{"answered_by": shown}])


def test_the_default_is_no_rule_and_what_is_not_rewritten_has_no_outside(config: Config) -> None:
    follower = Follower(config)
    follower.next()
    follower.traces[0].add(RECORD._replace(decision=Decision("drop", "multicast", "bypass", 0)))
    (line,) = follower.next() or [{}]
    assert (line["rule"], line["policy"], line["outside"]) == (None, "bypass", None)


def test_a_piece_has_so_many_records(config: Config) -> None:
    follower = Follower(config)
    follower.next()
    for _ in range(AT_ONCE + 1):
        follower.traces[0].add(RECORD)
    assert [len(follower.next() or ()) for _ in range(3)] == [AT_ONCE, 1, 0]


def test_what_is_left_out_is_reported_at_once_and_then_now_and_then(config: Config) -> None:
    follower = Follower(config)
    follower.next()
    (trace,) = follower.traces
    for number in range(MOST_WAITING + 5):
        if trace.has_room(float(number)):
            trace.add(RECORD)
    first = follower.next() or []
    assert first[-1] == {"lost": 5}
    trace.left_out = 3
    assert {"lost": 3} not in (follower.next() or [])
    while follower.next():
        pass
    assert follower.later == [pytest.approx(BETWEEN)], "it is to be woken for the rest"
    follower.now += BETWEEN
    assert follower.next() == [{"lost": 3}]
    assert trace.left_out == 0


@pytest.mark.parametrize(
    ("given_filter", "message"),
    [
        (7, "filter cannot be 7: it is a text"),
        ("hots 1", "did you mean 'host'?"),
        ("policy hone", "there is no policy 'hone': did you mean 'home'?"),
        ("policy zzz", "there is no policy 'zzz': "),
        ("not rule 2", "there is no rule 2: the last one is 1; 0 is the default"),
    ],
)
def test_filters_that_are_refused(config: Config, given_filter: object, message: str) -> None:
    with pytest.raises(BadFilterError) as refused:
        trace_filter({"filter": given_filter}, config)
    assert message in str(refused.value)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_no_filter_raises_anything_else(value: object) -> None:
    loaded = load(Path(__file__).parents[3] / "rules.example.yaml").config
    assert loaded is not None
    try:
        trace_filter({"filter": value}, loaded)
    except BadFilterError:
        return
    assert isinstance(value, str)
