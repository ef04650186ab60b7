"""Between which addresses no packet is wanted, whatever it is. That no record is missing for it is
in test_interests.py."""

from __future__ import annotations

from pathlib import Path

import pytest
from scapy.layers.inet import IP, TCP

from router.engine.direct.flow import pair_of
from router.engine.observer.interests import LONGEST
from router.engine.observer.observer import Observer
from router.engine.observer.trace import Trace
from router.engine.observer.unwanted import MOST
from router.flows.trace.fields import read
from router.flows.trace.matching import Filter
from router.flows.trace.words import parse
from router.wire import ip
from tests.unit.engine.direct.cases import direct_world
from tests.unit.engine.test_interests import OWN, packet
from tests.unit.engine.world import World

BOTH = pytest.mark.parametrize("version", [4, 6])
BY_ADDRESS = 6
"""A host about which the rules say the same for all protocols and ports."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return direct_world(tmp_path)


def traced(world: World, *words: str) -> Observer:
    observer = Observer(world.forwarder, world.writer)
    for each in words:
        observer.add(Trace(Filter(parse(each)), lambda: None))
    world.send_together([])
    return observer


def is_unwanted(observer: Observer, data: bytes) -> bool:
    return pair_of(ip.parse(data)) in observer._unwanted.known


@BOTH
@pytest.mark.parametrize("own", [True, False])
def test_by_the_addresses_at_once(world: World, version: int, own: bool) -> None:
    observer = traced(world, "host 203.0.113.99", "net 2001:db8:99::/48 and tcp")
    (echo,) = packet(version, BY_ADDRESS, "echo", own=own)
    world.send_together([echo])
    assert is_unwanted(observer, echo)


@BOTH
def test_by_a_decision_that_is_known(world: World, version: int) -> None:
    (echo,) = packet(version, BY_ADDRESS, "echo", own=True)
    world.send_together([echo])
    observer = traced(world, "policy office", "rule 1 or rule 3 and udp")
    world.send_together([echo])
    assert is_unwanted(observer, echo)
    world.forwarder.direct.forget()
    assert not observer._unwanted.known


@BOTH
@pytest.mark.parametrize("words", ["tcp", "dropped or host 203.0.113.99", "policy home and tcp"])
def test_what_another_packet_may_match_is_not(world: World, version: int, words: str) -> None:
    (echo,) = packet(version, BY_ADDRESS, "echo", own=True)
    world.send_together([echo])
    observer = traced(world, words)
    world.send_together([echo] * 2)
    assert not observer._unwanted.known


@BOTH
def test_without_a_decision_about_all_it_is_not(world: World, version: int) -> None:
    """Relayed, so that each flow has its own."""
    (echo,) = packet(version, BY_ADDRESS, "echo", own=False)
    world.send_together([echo])
    observer = traced(world, "policy office")
    world.send_together([echo] * 2)
    assert not observer._unwanted.known


def test_where_rules_differ_by_port_it_is_not(world: World) -> None:
    syn = bytes(IP(src=OWN[4], dst="203.0.113.7") / TCP(dport=443, flags="S"))
    world.send_together([syn])
    assert world.raw.sent
    observer = traced(world, "policy office")
    world.send_together([syn] * 2)
    assert not observer._unwanted.known


def test_it_is_bounded_and_forgotten_in_time(world: World) -> None:
    observer = traced(world, "host 203.0.113.99")
    for number in range(MOST + 2):
        fields = read(_between(number), 0, 28)
        assert fields is not None
        observer._unwanted.learn(fields)
    assert len(observer._unwanted.known) == MOST
    world.send_together([], 1.0 + LONGEST)
    assert not observer._unwanted.known


def _between(number: int) -> bytes:
    """An echo request to the address with that number."""
    (echo,) = packet(4, BY_ADDRESS, "echo", own=True)
    return echo[:16] + number.to_bytes(4, "big") + echo[20:]
