"""Which flows a change of rules keeps, compared with a router started with the new rules.

A flow should be kept exactly if such a router would send its next packet by the same interface, and
would receive it at all.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Final

import pytest

from router.config.loader import load
from router.config.model import Config
from router.engine.reload.reevaluate import Reevaluated, same_rules
from router.policy.match.table import RuleSet
from tests.unit.engine.world import World, close_worlds
from tests.unit.examples import examples
from tests.unit.wire.packets import ICMP, IP, UDP, Raw

HEAD: Final = """
version: 1
policies:
  home: {type: direct, interface: eth0}
  again: {type: direct, interface: eth0}
  office: {type: vpn, interface: wg0}
  careful: {type: vpn, interface: gone, on_down: drop}
  backed-up: {type: vpn, interface: gone, on_down: home}
rules:
"""
POLICIES: Final = ("home", "again", "office", "careful", "backed-up", "bypass", "reject")
NET: Final = 203 << 24 | 113 << 8
"""The system's own routes lead there by eth0."""
PORTS: Final = (53, 443)
CASES: Final = examples(400)
SOURCE: Final = "10.1.0.2"


def rules_at_random(numbers: random.Random) -> str:
    """A few rules that overlap, with and without conditions."""
    lines = []
    for _ in range(numbers.randrange(1, 5)):
        length = numbers.choice((29, 30, 31, 32))
        host = numbers.randrange(8) >> 32 - length << 32 - length
        condition = numbers.choice(("", "", "protocol: icmp, ", "protocol: udp, ", "port: 53, "))
        policy = numbers.choice(POLICIES)
        lines.append(f"  - {{cidr: 203.0.113.{host}/{length}, {condition}policy: {policy}}}")
    default = numbers.choice(("bypass", "bypass", "home", "office"))
    return HEAD + "\n".join([*lines, f"default: {default}", ""])


def named(config: Config, host: int, protocol: str, port: int) -> str:
    """The policy of the first rule that matches, found by a linear scan."""
    for rule in config.rules:
        [prefix] = rule.prefixes
        if (NET | host) >> 32 - prefix.length != prefix.first >> 32 - prefix.length:
            continue
        of_protocol = not rule.protocols or protocol in rule.protocols
        of_port = not rule.ports or (
            protocol in ("tcp", "udp") and any(low <= port <= high for low, high in rule.ports)
        )
        if of_protocol and of_port:
            return rule.policy
    return config.default


def captured(config: Config, host: int) -> bool:
    everything = product(("icmp", "tcp", "udp", "another"), (*PORTS, 1))
    return any(named(config, host, *each) != "bypass" for each in everything)


def packet(host: int, protocol: str, port: int) -> bytes:
    body = ICMP(type=8, id=7) if protocol == "icmp" else UDP(sport=4000, dport=port)
    return bytes(IP(src=SOURCE, dst=f"203.0.113.{host}") / body / Raw(b"hello"))


def outbound(world: World, host: int, protocol: str, port: int) -> str | None:
    """The interface that a packet leaves by."""
    world.send(packet(host, protocol, port))
    by = {"eth0": world.sent("home", 4), "wg0": world.sent("office", 4)}
    found = [name for name, sent in by.items() if sent]
    found += [sock.interface for sock in world.udp.open]
    assert len(found) <= 1
    return found[0] if found else None


def cases() -> Iterator[tuple[str, str, int, str, int]]:
    numbers = random.Random(606)
    for _ in range(CASES):
        before = rules_at_random(numbers)
        after = numbers.choice((before, rules_at_random(numbers), rules_at_random(numbers)))
        protocol = numbers.choice(("icmp", "udp"))
        port = numbers.choice(PORTS) if protocol == "udp" else 0
        yield before, after, numbers.randrange(1, 8), protocol, port


def test_flows_are_kept_if_a_fresh_router_would_create_them(tmp_path: Path) -> None:
    seen = set()
    for before, after, host, protocol, port in cases():
        world, fresh = World(tmp_path, before), World(tmp_path, after)
        then, now = outbound(world, host, protocol, port), outbound(fresh, host, protocol, port)
        config = fresh.forwarder.config
        lives = then == now and captured(config, host)
        expected = Reevaluated(int(lives), int(not lives)) if then else Reevaluated()
        found = world.forwarder.change(config, RuleSet.build(config))
        assert found[protocol] == expected, f"{protocol} {host} {port}\n{before}\n{after}"
        seen.add((protocol, expected))
        close_worlds()
    assert len(seen) == 6, "each protocol: none, kept, ended"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, HEAD + "  - {cidr: 203.0.113.0/30, policy: backed-up}\n")


def _config(directory: Path, rules: str) -> Config:
    file = directory / "other.yaml"
    file.write_text(HEAD + rules, encoding="utf-8")
    config = load(file).config
    assert config is not None
    return config


def changed(world: World, directory: Path, rules: str) -> dict[str, Reevaluated]:
    config = _config(directory, rules)
    return world.forwarder.change(config, RuleSet.build(config))


def test_flows_by_on_down_stay_there_until_the_rule_changes(world: World, tmp_path: Path) -> None:
    assert outbound(world, 1, "udp", 53) == "eth0"
    gone = world.outbound("backed-up")
    gone.own = world.outbound("home").own
    same = "  - {cidr: 192.0.2.9, policy: drop}\n  - {cidr: 203.0.113.0/30, policy: backed-up}\n"
    assert changed(world, tmp_path, same)["udp"] == Reevaluated(kept=1)
    careful = "  - {cidr: 203.0.113.0/30, policy: careful}\n"
    assert changed(world, tmp_path, careful)["udp"] == Reevaluated(ended=1)


def test_a_mapping_is_kept_as_long_as_one_of_its_flows(world: World, tmp_path: Path) -> None:
    for host, port in ((1, 53), (2, 53), (2, 443)):
        world.send(packet(host, "udp", port))
    [sock] = world.udp.open
    only_dns = "  - {cidr: 203.0.113.1, port: 53, policy: backed-up}\n"
    assert changed(world, tmp_path, only_dns)["udp"] == Reevaluated(kept=1, ended=2)
    assert not sock.closed
    world.send(packet(1, "udp", 53))
    assert [payload for payload, *_ in sock.sent][-1:] == [b"hello"]
    assert changed(world, tmp_path, "  []\n")["udp"] == Reevaluated(ended=1)
    assert sock.closed


def test_rules_that_stay_keep_their_counters(world: World, tmp_path: Path) -> None:
    """Under any index; counters of removed rules still count for their policies."""
    world.send(packet(1, "icmp", 0))
    rule = "  - {cidr: 203.0.113.0/30, policy: backed-up}\n"
    other = "  - {cidr: 203.0.113.1, policy: home}\n"
    many = "".join(f"  - {{cidr: 192.0.2.{host}, policy: drop}}\n" for host in range(1, 50))
    for rules, number, packets in (
        (many + rule, 50, 2),
        (rule + many, 1, 3),
        (many + other, 50, 1),
    ):
        assert changed(world, tmp_path, rules)["icmp"] == Reevaluated(kept=1)
        world.send(packet(1, "icmp", 0))
        [tally] = world.forwarder.tallies.of_rule(number)
        assert (tally.policy, tally.rule) == ("home", number)
        assert (tally.flows, tally.packets_out) == (1, packets)
    [gone] = world.forwarder.tallies.former
    assert (gone.policy, gone.flows, gone.packets_out) == ("home", 0, 3)


def test_equal_rules_keep_their_order(world: World, tmp_path: Path) -> None:
    twice = "  - {cidr: 203.0.113.0/30, port: 53, policy: home}\n" * 2
    before, after = (
        _config(tmp_path, rules)
        for rules in (twice, "  - {cidr: 192.0.2.1, policy: drop}\n" + twice)
    )
    assert same_rules(before, after, [1, 2, 0]) == {0: 0, 1: 2, 2: 3}
    assert same_rules(after, before, [1, 3]) == {0: 0, 2: 1, 3: 2}
