"""Which answers the system is to count, and for which policy."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_interface
from pathlib import Path

import pytest

from router.config.loader import load
from router.config.model import Config
from router.engine.direct.answers import Answers
from router.platform.base.errors import PlatformError
from router.policy.match.table import RuleSet
from router.policy.network import Interface
from router.policy.routes.answered import answered_prefixes
from tests.unit.engine.direct.memory import MemoryCounters
from tests.unit.engine.tcp.memory import MemoryTcp
from tests.unit.engine.udp.memory import MemorySystem
from tests.unit.engine.world import OWN, MemoryOutbounds

HEAD = """
version: 1
policies:
  home: {type: direct, interface: eth0}
  office: {type: vpn, interface: wg0, on_down: home}
  slow: {type: direct, interface: eth0, path: relay}
  twin: {type: direct, interface: eth0}
"""
RULES = """
rules:
  - {cidr: 198.51.100.1, policy: reply}
  - {cidr: [198.51.100.0/25, "2001:db8:100::/64"], policy: home}
  - {cidr: 198.51.100.128/25, policy: office}
  - {cidr: 203.0.113.0/26, policy: slow}
  - {cidr: 203.0.113.64/26, protocol: tcp, policy: office}
  - {cidr: 203.0.113.64/26, policy: home}
  - {cidr: 203.0.113.128/26, protocol: tcp, policy: twin}
  - {cidr: 203.0.113.128/26, policy: home}
  - {cidr: 203.0.113.192/26, protocol: tcp, policy: home}
"""
ADDRESSES = {
    name: Interface(name, 3, True, 1500, tuple(map(ip_interface, own)))
    for name, own in OWN.items()
    if name != "gone"
}
OWNERS: Mapping[bytes, Interface] = {
    address.ip.packed: interface
    for interface in ADDRESSES.values()
    for address in interface.addresses
}


class Bench:
    """Answers for RULES, or others, in a file of this directory."""

    def __init__(self, directory: Path, rules: str = RULES) -> None:
        self.file = directory / "rules.yaml"
        self.counters = MemoryCounters()
        config = self.load(rules)
        self.owners = dict(OWNERS)
        self.outbounds = MemoryOutbounds(
            config.policies.values(), MemorySystem(), MemoryTcp(), lambda: self.owners
        )
        self._name_interfaces()
        self.answers = Answers(lambda: self.counters, self.outbounds, lambda: self.owners)
        self.follow(config)

    def load(self, rules: str) -> Config:
        self.file.write_text(HEAD + rules)
        config = load(self.file).config
        assert config is not None
        return config

    def follow(self, config: Config) -> None:
        self.outbounds.take_over(config.policies.values())
        self._name_interfaces()
        self.answers.follow(config, answered_prefixes(config, RuleSet.build(config)))

    def _name_interfaces(self) -> None:
        for name, outbound in self.outbounds.by_interface.items():
            outbound.interfaces = [name]

    def covers(self, policy: str, address: str) -> bool:
        found = ip_address(address)
        return self.answers.covers(policy, found.version, int(found))

    def down(self, interface: str) -> None:
        self.outbounds.by_interface[interface].own = {}

    def up(self, interface: str) -> None:
        own = (ip_address(address) for address in OWN[interface])
        self.outbounds.by_interface[interface].own = {each.version: each.packed for each in own}

    def arrive(self, interface: str, source: str, destination: str | None = None) -> None:
        own = OWN[interface][ip_address(source).version == 6]
        self.counters.arrive(interface, source, destination or own, 100)


@pytest.mark.parametrize(
    ("address", "policies"),
    [
        ("198.51.100.1", set()),
        ("198.51.100.0", {"home"}),
        ("198.51.100.2", {"home"}),
        ("198.51.100.127", {"home"}),
        ("198.51.100.128", {"office"}),
        ("198.51.101.0", set()),
        ("2001:db8:100::7", {"home"}),
        ("2001:db8:101::7", set()),
        ("203.0.113.1", set()),
        ("203.0.113.65", {"home", "office"}),
        ("203.0.113.129", set()),
        ("203.0.113.193", set()),
    ],
)
def test_what_is_covered(tmp_path: Path, address: str, policies: set[str]) -> None:
    """Not where packets are relayed, where two policies share an interface, and where `bypass` has
    a part of the traffic."""
    bench = Bench(tmp_path)
    names = ("home", "office", "slow", "twin", "bypass", "reply")
    assert {name for name in names if bench.covers(name, address)} == policies


def test_answers_count_by_interface(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.arrive("eth0", "198.51.100.2")
    bench.arrive("eth0", "2001:db8:100::1")
    bench.arrive("eth0", "203.0.113.65")
    bench.arrive("wg0", "203.0.113.65")
    bench.arrive("wg0", "198.51.100.2")
    bench.arrive("eth0", "198.51.100.2", "10.8.0.2")
    bench.arrive("eth0", "203.0.113.1")
    assert (bench.answers.of("home"), bench.answers.of("office")) == ((3, 300), (1, 100))
    assert bench.answers.of("slow") == bench.answers.of("bypass") == (0, 0)


def test_on_down_leads_to_another_policy(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.arrive("wg0", "198.51.100.200")
    prefixes = bench.counters.prefixes
    bench.down("wg0")
    assert bench.answers.refresh()
    assert bench.counters.prefixes is prefixes, "which do not depend on what is up"
    assert bench.covers("home", "198.51.100.200")
    assert not bench.covers("office", "198.51.100.200")
    bench.arrive("eth0", "198.51.100.200")
    bench.up("wg0")
    assert bench.answers.refresh()
    assert not bench.answers.refresh()
    assert bench.covers("office", "198.51.100.200")
    assert (bench.answers.of("home"), bench.answers.of("office")) == ((1, 100), (1, 100))


def test_an_address_that_is_gone(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    del bench.owners[ip_address("192.0.2.2").packed]
    assert bench.answers.refresh()
    assert not bench.covers("home", "198.51.100.2")
    assert bench.covers("home", "2001:db8:100::1")


def test_an_address_that_belongs_to_another_interface(tmp_path: Path) -> None:
    """Its answers would not be found, so none of this family are counted."""
    bench = Bench(tmp_path)
    bench.owners[ip_address("192.0.2.2").packed] = ADDRESSES["wg0"]
    assert bench.answers.refresh()
    assert not bench.covers("home", "198.51.100.2")
    assert bench.covers("home", "2001:db8:100::1")


def test_other_rules_keep_the_counts(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.arrive("eth0", "198.51.100.2")
    bench.follow(bench.load("rules: [{cidr: 198.51.100.2, policy: office}]\ndefault: home\n"))
    bench.arrive("eth0", "198.51.100.2")
    bench.arrive("wg0", "198.51.100.2")
    bench.arrive("eth0", "192.88.99.1")
    assert (bench.answers.of("home"), bench.answers.of("office")) == ((2, 200), (1, 100))
    assert bench.covers("home", "192.88.99.1")
    assert not bench.covers("home", "198.51.100.2")


def test_a_system_that_refuses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(tmp_path)

    def refuse() -> MemoryCounters:
        raise PermissionError(1, "Operation not permitted")

    answers = Answers(refuse, bench.outbounds, lambda: OWNERS)
    config = bench.load(RULES)
    answers.follow(config, answered_prefixes(config, RuleSet.build(config)))
    assert not answers.refresh()
    assert not answers.covers("home", 4, int(ip_address("198.51.100.2")))
    assert answers.of("home") == (0, 0)
    answers.close()
    assert "refuses to count answers" in caplog.text


def test_a_change_that_is_refused_ends_the_counting(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.arrive("eth0", "198.51.100.2")
    bench.counters.refuses = True
    bench.down("wg0")
    assert bench.answers.refresh()
    assert not bench.covers("home", "198.51.100.2")
    assert bench.answers.of("home") == (1, 100)
    bench.counters.refuses = False
    bench.up("wg0")
    bench.answers.refresh()
    assert not bench.covers("home", "198.51.100.2"), "what arrived meanwhile is missing"
    with pytest.raises(PlatformError):
        bench.counters.refuses = True
        bench.counters.count((), ())


def test_more_policies_than_numbers(tmp_path: Path) -> None:
    """They are not covered."""
    number = MemoryCounters.most + 2
    rules = [f"  - {{cidr: 198.51.100.{n}, policy: p{n}}}\n" for n in range(number)]
    head = "".join(f"  p{n}: {{type: direct, interface: eth0}}\n" for n in range(number))
    bench = Bench(tmp_path, head + "rules:\n" + "".join(rules))
    covered = [bench.covers(f"p{n}", f"198.51.100.{n}") for n in range(number)]
    assert sorted(covered) == [False] * 3 + [True] * (number - 3)
