"""What a trace reports of packets through the forwarder in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP

from router.engine.observer.observer import Observer
from router.engine.observer.trace import BURST, MOST_WAITING, Trace
from router.flows.trace.decision import Record
from router.flows.trace.matching import Filter
from router.flows.trace.words import parse
from router.wire import ip
from tests.unit.engine.world import World, far, reply_to

CLIENT = "10.1.0.2"
RULES = """\
version: 1
tun: {name: tun11, address: 192.168.7.1/30}
policies:
  home: {type: direct, interface: eth0}
rules:
  - {cidr: 198.51.100.1, policy: home}
  - {cidr: 198.51.100.2, policy: drop}
  - {cidr: 198.51.100.3, policy: reject}
  - {cidr: 198.51.100.4, policy: reply}
default: bypass
"""


@pytest.fixture
def world(tmp_path: Path) -> Any:
    made = World(tmp_path, RULES)
    yield made
    made.close()


class Traced:
    """A trace of a world, and what it has."""

    def __init__(self, world: World, words: str = "") -> None:
        self.observer = Observer(world.forwarder, world.writer)
        self.trace = Trace(Filter(parse(words)), lambda: None)
        self.observer.add(self.trace)

    def records(self) -> list[Record]:
        found = []
        while some := self.trace.take():
            found += some
        return found


def ping(host: int, number: int = 1) -> bytes:
    return bytes(IP(src=CLIENT, dst=far(4, host)) / ICMP(id=77, seq=number))


def verdicts(records: list[Record]) -> list[tuple[Any, ...]]:
    return [
        (each.direction, *each.decision[:2], each.decision.policy, each.decision.rule)
        for each in records
    ]


def test_a_flow_and_its_answer(world: World) -> None:
    traced = Traced(world)
    world.send_together([ping(1)])
    (sent,) = world.sent("home", 4)
    answer = reply_to(ip.parse(ping(1)), sent[1], "192.0.2.2")
    world.answer("home", answer)
    out, back = traced.records()
    assert verdicts([out, back]) == [
        ("out", "forward", None, "home", 1),
        ("in", "forward", None, "home", 1),
    ]
    assert out.data == ping(1)
    assert out.decision.interface == back.decision.interface == "eth0"
    assert out.decision.path == "relayed"


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (ping(2), [("out", "drop", "drop", "drop", 2)]),
        (ping(3), [("out", "reject", "rejected", "reject", 3), ("in", "reply", None, "reject", 3)]),
        (ping(4), [("out", "reply", None, "reply", 4), ("in", "reply", None, "reply", 4)]),
        (
            bytes(IP(src=CLIENT, dst=far(4, 3)) / TCP(dport=80, flags="S")),
            [("out", "reject", "rejected", "reject", 3), ("in", "reply", None, "reject", 3)],
        ),
        (
            bytes(IP(src=CLIENT, dst="224.0.0.1") / UDP(dport=80)),
            [("out", "drop", "multicast", "bypass", 0)],
        ),
        (b"\x45" + bytes(30), [("out", "drop", "malformed", None, None)]),
    ],
)
def test_what_is_not_forwarded(
    world: World, packet: bytes, expected: list[tuple[Any, ...]]
) -> None:
    traced = Traced(world)
    world.send_together([packet])
    found = verdicts(traced.records())
    if expected[0][2] == "malformed":
        assert found[0][:3] == expected[0][:3]
    else:
        assert found == expected


def test_each_packet_has_its_own_decision(world: World) -> None:
    traced = Traced(world)
    world.send_together([ping(2), ping(1), ping(3), ping(1, 2)])
    out = [each[1] for each in verdicts(traced.records()) if each[0] == "out"]
    assert out == ["drop", "forward", "reject", "forward"]


def test_words_about_decisions(world: World) -> None:
    dropped, by_rule = Traced(world, "dropped"), Trace(Filter(parse("rule 1")), lambda: None)
    dropped.observer.add(by_rule)
    world.send_together([ping(1), ping(2), ping(3), ping(4)])
    assert [each[2] for each in verdicts(dropped.records())] == ["drop", "rejected"]
    assert verdicts(by_rule.take()) == [("out", "forward", None, "home", 1)]


def test_a_drop_of_what_comes_from_outside_is_not_of_the_packet_before(world: World) -> None:
    traced = Traced(world)
    world.send_together([ping(1)])
    stray = bytes(IP(src=far(4, 9), dst="192.0.2.2") / ICMP(type=0, id=5))
    traced.observer.from_outside(stray)
    world.answer("home", stray)
    traced.observer.settle(1.0)
    assert [each[:3] for each in verdicts(traced.records())] == [
        ("out", "forward", None),
        ("in", "drop", "no-binding"),
    ]


def test_a_flood_is_bounded_and_counted(world: World) -> None:
    traced = Traced(world, "icmp")
    sent = 2 * MOST_WAITING
    for number in range(sent):
        world.send_together([ping(2, number)])
    waiting = len(traced.records())
    assert BURST <= waiting <= MOST_WAITING
    assert waiting + traced.trace.left_out == sent


def test_nothing_is_hooked_without_a_trace(world: World) -> None:
    forwarder, writer = world.forwarder, world.writer
    before = dict(vars(writer))
    traced = Traced(world)
    assert forwarder.observer is traced.observer
    traced.observer.remove(traced.trace)
    assert forwarder.observer is None
    assert forwarder.drops.observe is None
    assert vars(writer) == before
    world.send_together([ping(1)])
    assert traced.records() == []
