"""What is kept by flow about traces, and what is not observed, changes nothing about what they
report."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrHopByHop

from router.config.loader import load
from router.engine.observer.interests import LONGEST, MOST, NONE, Interests
from router.engine.observer.observer import Observer
from router.engine.observer.trace import Trace
from router.flows.trace.decision import IN, Decision, Record
from router.flows.trace.fields import read
from router.flows.trace.keys import Key, has_key, key_of
from router.flows.trace.matching import Filter
from router.flows.trace.words import parse
from router.policy.match.table import RuleSet
from router.wire import ip
from tests.unit.engine.world import ETH0, RULES, World, far
from tests.unit.examples import examples
from tests.unit.flows.trace.examples import words as unrelated_words

CLIENT = {4: "10.1.0.2", 6: "2001:db8:1::2"}
OWN = {4: "192.0.2.2", 6: "2001:db8:2::2"}
WORDS = (
    *("policy home", "policy office", "policy drop", "rule 2", "rule 0", "dropped", "icmp", "tcp"),
    *("host 198.51.100.6", "net 2001:db8:100::/64", "port 443", "not dropped", "not policy home"),
)


def packet(version: int, host: int, what: str, own: bool, hops: int = 64) -> list[bytes]:
    """A packet from the inside, or the fragments of one."""
    source = (OWN if own else CLIENT)[version]
    ends: dict[str, Any] = {"src": source, "dst": far(version, host)}
    head = IP(ttl=hops, **ends) if version == 4 else IPv6(hlim=hops, **ends)
    if what == "options":
        head = IP(options=[b"\1" * 4], **ends) if version == 4 else head / IPv6ExtHdrHopByHop()
    if what == "fragments" and version == 4:
        data = bytes(UDP(sport=7, dport=443, len=64) / bytes(56))
        first, second = head.copy(), head.copy()
        first.flags, second.frag = "MF", 4
        first.proto = second.proto = ip.UDP
        return [bytes(first / data[:32]), bytes(second / data[32:])]
    if what == "junk":
        return [bytes(head)[:30] + b"\0\1"]
    echo = ICMP(id=host) if version == 4 else ICMPv6EchoRequest(id=host)
    bodies = {"tcp": TCP(sport=9, dport=443, flags="S"), "reset": TCP(sport=9, flags="R")}
    body = bodies.get(what, UDP(sport=7, dport=443) if what == "udp" else echo)
    return [bytes(head / body)]


KINDS = ("echo", "tcp", "reset", "udp", "options", "fragments", "junk")
SENT = st.tuples(
    st.sampled_from((4, 6)),
    st.integers(1, 6),
    st.sampled_from(KINDS),
    st.booleans(),
    st.sampled_from((64, 64, 1)),
)
FAILING = st.tuples(SENT, st.sampled_from((None, None, errno.EPERM, errno.EMSGSIZE, errno.ENOBUFS)))
"""What is sent, and why the system does not send it."""
FILTERS = st.recursive(
    st.sampled_from(WORDS),
    lambda inner: (
        st.tuples(inner, st.sampled_from((" and ", " or "))).map(
            lambda parts: f"({parts[0]}){parts[1]}({parts[0]})"
        )
        | st.tuples(inner, st.sampled_from((" and ", " or ")), inner).map("".join)
    ),
    max_leaves=3,
)


Sending = Sequence[tuple[Sequence[bytes], int | None]]


def traced(words: Sequence[str], sent: Sending) -> list[list[Record]]:
    """The records of each filter, of packets that are sent one after the other, with other rules
    for the second half; each packet again and again, so that some meet what is kept."""
    with tempfile.TemporaryDirectory() as directory:
        local = {"eth0": ETH0}
        world = World(Path(directory), local=local)
        later = load(_written(Path(directory), RULES.replace("policy: office}", "policy: drop}")))
        assert later.config is not None
        try:
            observer = Observer(world.forwarder, world.writer)
            traces = [Trace(Filter(parse(each)), lambda: None) for each in words]
            for trace in traces:
                observer.add(trace)
            for number, (packets, error) in enumerate(sent):
                if number == len(sent) // 2:
                    world.forwarder.change(later.config, RuleSet.build(later.config))
                for _ in range(2):
                    world.send_together([*packets, *packets])
                    _fail(world, error)
                _fail(world, None)
            return [_all(trace) for trace in traces]
        finally:
            world.close()


def _fail(world: World, error: int | None) -> None:
    """All that is sent directly from now on."""
    for raw in world.raw.by_source.values():
        raw.errors = [error] * 9


def _written(directory: Path, text: str) -> Path:
    file = directory / "later.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def _all(trace: Trace) -> list[Record]:
    """Without what differs between runs: the time, and the port outside."""
    found = []
    while some := trace.take():
        found += some
    return [
        each._replace(time=0.0, decision=each.decision._replace(outside_port=None))
        for each in found
    ]


FEW = settings(max_examples=examples(75))
"""A router is made for each."""


@FEW
@given(FILTERS, st.lists(FAILING, max_size=8))
def test_a_filter_reports_what_it_matches_of_everything(text: str, sent: list[Any]) -> None:
    """Two routers with the same packets, one traced by a filter, the other without one."""
    packets = [(packet(*each), error) for each, error in sent]
    (found,), (everything,) = traced([text], packets), traced([""], packets)
    wanted = Filter(parse(text))
    assert found == [
        each for each in everything if wanted.matches(each.data, 0, len(each.data), each.decision)
    ]


@FEW
@given(st.lists(FILTERS, min_size=2, max_size=3), st.lists(FAILING, max_size=5))
def test_traces_do_not_affect_each_other(words: list[str], sent: list[Any]) -> None:
    packets = [(packet(*each), error) for each, error in sent]
    assert traced(words, packets) == [traced([each], packets)[0] for each in words]


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("version", [4, 6])
def test_what_no_filter_matches_is_decided_on_once(
    version: int, own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, local={"eth0": ETH0})
    observer = Observer(world.forwarder, world.writer)
    trace = Trace(Filter(parse("policy office or dropped")), lambda: None)
    observer.add(trace)
    echo, udp = packet(version, 6, "echo", own), packet(version, 6, "udp", own)
    world.send_together([])
    world.send_together([*echo, *udp])
    asked: list[int] = []
    monkeypatch.setattr(observer._decisions, "of_outgoing", lambda *_: asked.append(1))
    world.send_together([*echo, *udp] * 100)
    assert (asked, _all(trace)) == ([], [])
    world.close()


def test_a_flood_that_matches_is_not_decided_on_beyond_what_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    observer = Observer(world.forwarder, world.writer)
    trace = Trace(Filter(parse("policy drop")), lambda: None)
    observer.add(trace)
    monkeypatch.setattr("router.engine.observer.trace.MOST_WAITING", 3)
    world.send_together(packet(4, 2, "echo", own=False) * 100)
    assert (len(_all(trace)), trace.left_out) == (3, 97)
    world.close()


def learned(*words: str) -> tuple[Interests, list[object]]:
    asked: list[object] = []

    def possible(*packet: object) -> Sequence[Decision]:
        asked.append(packet)
        return [Decision("forward", None, "home", 1)]

    traces = [Trace(Filter(parse(each)), lambda: None) for each in words]
    return Interests(traces, possible), asked


def test_no_decision_is_made_for_filters_that_need_none() -> None:
    interests, asked = learned("tcp", "policy home and udp")
    (syn,) = packet(4, 6, "tcp", own=False)
    assert interests.learn(syn, 0, len(syn)).certain
    (echo,) = packet(4, 6, "echo", own=False)
    assert interests.learn(echo, 0, len(echo)) is NONE
    assert asked == []


def test_no_more_than_so_many_flows_are_kept() -> None:
    interests, _ = learned("policy home")
    syn = bytearray(bytes(IP(src=CLIENT[4], dst=far(4, 1)) / TCP(dport=443)))
    for port in range(MOST + 2):
        syn[20:22] = port.to_bytes(2, "big")
        interests.learn(syn, 0, len(syn))
    assert len(interests.known) == MOST
    syn[20:22] = bytes(2)
    assert key_of(syn, 0, len(syn)) not in interests.known, "the oldest is the one that is left out"


def test_what_is_kept_is_forgotten_in_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    observer = Observer(world.forwarder, world.writer)
    observer.add(Trace(Filter(parse("policy office")), lambda: None))
    now = 100.0
    world.send_together([], now)
    world.send_together(packet(4, 6, "echo", own=False), now + LONGEST / 2)
    assert observer._sent.known
    world.send_together([], now + LONGEST)
    assert not observer._sent.known
    world.close()


def test_a_drop_belongs_to_the_packet_before_it_alone(tmp_path: Path) -> None:
    """An answer that was delivered is over at the end of its turn."""
    world = World(tmp_path)
    observer = Observer(world.forwarder, world.writer)
    trace = Trace(Filter(parse("dropped")), lambda: None)
    observer.add(trace)
    world.send_together(packet(4, 6, "echo", own=False))
    world.send_together(packet(4, 2, "echo", own=False))
    world.send_together(packet(4, 6, "udp", own=False))
    assert [(each.decision.rule, each.direction == IN) for each in _all(trace)] == [(2, False)]
    world.close()


@given(unrelated_words(), SENT, SENT, st.integers(0, 3))
def test_packets_with_the_same_key_are_alike_to_filters(
    text: str, first: Any, second: Any, before: int
) -> None:
    wanted, decision = Filter(parse(text)), Decision("forward", None, "home", 1)
    found: dict[Key, bool] = {}
    for data in (*packet(*first), *packet(*second)):
        buffer = bytearray(before) + data
        fields = read(buffer, before, len(buffer))
        if fields is not None and has_key(fields, before):
            key = key_of(buffer, before, len(buffer))
            assert key is not None
            matches = wanted.matches(buffer, before, len(buffer), decision)
            assert found.setdefault(key, matches) == matches
