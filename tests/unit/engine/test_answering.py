"""By which interfaces answers may come that belong to a trace."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from ipaddress import ip_interface
from pathlib import Path

import pytest

from router.engine.observer.observer import Observer
from router.engine.observer.trace import Trace
from router.flows.trace.matching import Filter
from router.flows.trace.words import parse
from router.policy.network import Interface
from tests.unit.engine.world import ETH0, OWN, World

WG0 = Interface("wg0", 4, up=True, mtu=1420, addresses=(ip_interface("10.8.0.2/24"),))
ANY = None
RULES = """
version: 1
policies:
  home: {type: direct, interface: eth0}
  office: {type: vpn, interface: wg0}
  careful: {type: vpn, interface: gone, on_down: office}
rules:
  - {cidr: 198.51.100.1, policy: home}
  - {cidr: 198.51.100.2, policy: office}
  - {cidr: 198.51.100.3, policy: careful}
  - {cidr: 198.51.100.4, policy: drop}
  - {cidr: 198.51.100.5, policy: bypass}
default: office
"""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    assert set(OWN) == {"eth0", "wg0"}
    made = World(tmp_path, RULES, local={"eth0": ETH0, "wg0": WG0})
    yield made
    made.close()


@pytest.mark.parametrize(
    ("words", "interfaces"),
    [
        ("", ANY),
        ("tcp and net 10.0.0.0/8", ANY),
        ("policy home", {3}),
        ("policy office", {4}),
        ("policy home or policy office", {3, 4}),
        ("policy home and policy office", ()),
        ("policy careful", ()),
        ("policy drop or policy reply", ()),
        ("policy bypass", ANY),
        ("policy home and tcp and port 443", {3}),
        ("policy home or port 443", ANY),
        ("rule 1", {3}),
        ("rule 3", {4}),
        ("rule 4", ()),
        ("rule 5", ANY),
        ("rule 0", {4}),
        ("rule 1 and policy office", ()),
        ("not policy home", ANY),
        ("not policy home and (policy home or rule 2)", {4}),
        ("dropped and policy home", ()),
        ("not dropped and policy home", {3}),
    ],
)
def test_by_rules_and_outbounds(
    world: World, words: str, interfaces: Collection[int] | None
) -> None:
    observer = Observer(world.forwarder, world.writer)
    trace = Trace(Filter(parse(words)), lambda: None)
    observer.add(trace)
    found = observer.answered_by(trace)
    assert found == (None if interfaces is None else frozenset(interfaces))


def test_a_change_of_rules_or_outbounds_is_noted(world: World) -> None:
    woken = []
    observer = Observer(world.forwarder, world.writer)
    traces = [Trace(Filter(parse("policy home")), lambda: woken.append(1)) for _ in range(2)]
    for trace in traces:
        observer.add(trace)
    assert not any(trace.has_changed for trace in traces)
    world.forwarder.direct.forget()
    assert all(trace.has_changed for trace in traces)
    assert len(woken) == 2


def test_a_rule_that_is_gone_has_no_answers(world: World, tmp_path: Path) -> None:
    observer = Observer(world.forwarder, world.writer)
    trace = Trace(Filter(parse("rule 5 or rule 2")), lambda: None)
    observer.add(trace)
    other = World(tmp_path, RULES.replace("  - {cidr: 198.51.100.5, policy: bypass}\n", ""))
    world.forwarder.rules.config = other.forwarder.config
    assert observer.answered_by(trace) == frozenset({4})
    other.close()
