"""Of which flows no packet is observed, and that their drops are. That no record is missing is in
test_interests.py too."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP

from router.engine.direct.flow import pair_of
from router.engine.observer.interests import LONGEST
from router.engine.observer.observer import Observer
from router.engine.observer.trace import Trace
from router.flows.trace.matching import Filter
from router.flows.trace.words import parse
from router.wire import ip, offload
from tests.unit.engine.direct.cases import (
    OFFICE,
    WG0,
    datagram,
    direct_world,
    frames,
    refuse,
    segment,
    uncut,
)
from tests.unit.engine.test_interests import OWN, packet
from tests.unit.engine.world import World

BOTH = pytest.mark.parametrize("version", [4, 6])
BY_ADDRESS = 6
"""A host about which the rules say the same for all protocols and ports."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return direct_world(tmp_path)


def traced(world: World, *words: str) -> tuple[Observer, list[Trace]]:
    observer = Observer(world.forwarder, world.writer)
    traces = [Trace(Filter(parse(each)), lambda: None) for each in words]
    for each in traces:
        observer.add(each)
    world.send_together([])
    return observer, traces


def is_unobserved_by_pair(observer: Observer, data: bytes) -> bool:
    return pair_of(ip.parse(data)) in observer._unobserved.by_pair


@BOTH
@pytest.mark.parametrize(
    "words",
    [
        ("host 203.0.113.99", "net 2001:db8:99::/48 and tcp"),
        ("policy office", "rule 1 or rule 3 and udp"),
        ("dropped", "dropped or host 203.0.113.99"),
    ],
)
def test_by_addresses(
    world: World, version: int, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found out by the second packet, as the first one is decided on."""
    (echo,) = packet(version, BY_ADDRESS, "echo", own=True)
    observer, traces = traced(world, *words)
    world.send_together([echo] * 2)
    assert is_unobserved_by_pair(observer, echo)
    monkeypatch.setattr(observer, "from_tun", lambda *_: pytest.fail("it is observed"))
    before = len(world.raw.sent)
    world.send_together([echo] * 3)
    assert len(world.raw.sent) == before + 3
    assert not any(each.take() for each in traces)
    world.forwarder.direct.forget()
    assert not observer._unobserved.by_pair


@BOTH
@pytest.mark.parametrize("words", ["tcp", "port 9 or policy office", "policy home and tcp"])
def test_by_keys_where_another_packet_may_match(
    world: World, version: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    echo, syn = (packet(version, BY_ADDRESS, kind, own=True)[0] for kind in ("echo", "tcp"))
    observer, (trace,) = traced(world, words)
    world.send_together([echo] * 2)
    assert not observer._unobserved.by_pair
    assert len(observer._unobserved.by_key) == 1
    with monkeypatch.context() as patched:
        patched.setattr(observer, "from_tun", lambda *_: pytest.fail("it is observed"))
        world.send_together([echo] * 3)
    world.send_together([echo, syn, echo])
    assert [each.data for each in trace.take()] == [syn]


@BOTH
def test_what_is_relayed_is_observed(world: World, version: int) -> None:
    (echo,) = packet(version, BY_ADDRESS, "echo", own=False)
    observer, _ = traced(world, "host 203.0.113.99")
    world.send_together([echo] * 3)
    assert not observer._unobserved.by_pair
    assert not observer._unobserved.by_key


def test_by_keys_where_rules_differ_by_port(world: World) -> None:
    syn = bytes(IP(src=OWN[4], dst="203.0.113.7") / TCP(dport=443, flags="S"))
    observer, _ = traced(world, "policy office")
    world.send_together([syn] * 2)
    assert world.raw.sent
    assert not observer._unobserved.by_pair
    assert len(observer._unobserved.by_key) == 1


def test_it_is_bounded_and_forgotten_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("router.engine.observer.unobserved.MOST", 8)
    observer, _ = traced(world, "port 9")
    for port in range(100, 110):
        world.send_together([datagram(4, dport=port)] * 2)
    assert len(observer._unobserved.by_key) == 8
    world.send_together([], 1.0 + LONGEST)
    assert not observer._unobserved.by_key


@BOTH
@pytest.mark.parametrize("words", ["dropped", "dropped and udp", "dropped and port 53"])
def test_a_drop_is_reported(world: World, version: int, words: str) -> None:
    observer, (trace,) = traced(world, words)
    world.send_together([datagram(version)] * 2)
    assert observer._unobserved.by_pair or observer._unobserved.by_key
    refuse(world, errno.EPERM, version, times=2)
    world.send_together([datagram(version, size) for size in (8, 12, 16)])
    records = trace.take()
    assert [each.decision.reason for each in records] == ["refused-by-host"] * 2
    assert [each.data for each in records] == [datagram(version), datagram(version, 12)]
    assert world.drops == {"refused-by-host": 2}


@BOTH
def test_a_drop_belongs_to_no_other_packet(world: World, version: int) -> None:
    """That one is observed, and nothing else was before the other is dropped."""
    observed, other = segment(version, source=WG0, host=OFFICE), datagram(version)
    _, (wanted, dropped) = traced(world, "tcp", "dropped")
    world.send_together([observed, other, other])
    wanted.take()
    refuse(world, errno.EPERM, version)
    world.send_together([observed, other])
    assert [(each.data, each.decision.verdict) for each in wanted.take()] == [(observed, "forward")]
    assert [each.data for each in dropped.take()] == [other]


@BOTH
def test_a_refused_frame_is_reported_by_its_first_packet(world: World, version: int) -> None:
    """The first is cut, and the system refuses a segment; the next one is dropped as a whole."""
    frame = uncut(version, b"x" * 3000)
    _, (trace,) = traced(world, "dropped")
    frames(world, [frame] * 2)
    refuse(world, errno.EPERM, version)
    frames(world, [frame] * 3, 1.2)
    records = trace.take()
    first = next(offload.packets(bytearray(frame), len(frame)))
    assert len(records) == world.drops["refused-by-host"] == 3
    assert {each.data for each in records} == {first[:512]}
