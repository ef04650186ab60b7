"""The checks of a Mac, by facts alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from router.config.loader import load
from router.policy.findings.situation import Situation
from router.policy.machine import checks, darwin, extras
from router.policy.machine.facts import Facts, Machine, Resolver, TunDevice, WayOut
from router.policy.machine.result import Status
from router.policy.match.table import RuleSet
from tests.unit.check.networks import MACBOOK

OK, WARNING, MISSING = Status
MACHINE: Final = Machine(
    "Darwin",
    "24.4.0",
    (24, 4),
    arrivals=None,
    modules=extras.modules(),
    programs=frozenset({"tshark", "wireshark"}),
    scoped_defaults={"en0": frozenset({4, 6}), "en1": frozenset({4})},
)
WAYS: Final = (
    WayOut("home", "en0", 1500, {4: "192.168.1.7", 6: "2001:db8:1::7"}, {4: "192.168.1.1"}),
    WayOut("office", "utun3", 1380, {4: "10.8.0.2"}),
)
FACTS: Final = Facts(MACHINE, MACBOOK, WAYS)


def on(facts: Facts = FACTS, **changes: object) -> Facts:
    return facts._replace(machine=replace(facts.machine, **changes))  # type: ignore[arg-type]


def by_rules(text: str, directory: Path) -> Facts:
    """The facts with rules, given as their lines."""
    file = directory / "rules.yaml"
    policies = "  home: {type: direct, interface: default}\n"
    if "proxy" in text:
        policies += "  proxy: {type: socks5, server: '192.168.1.9:1080'}\n"
    file.write_text(f"version: 1\npolicies:\n{policies}rules:\n{text}", encoding="utf-8")
    config = load(str(file)).config
    assert config is not None
    situation = Situation.of(config, RuleSet.for_few_lookups(config), MACBOOK)
    return FACTS._replace(situation=situation)


def test_every_check_of_a_mac() -> None:
    found = {each.id: each.status for each in checks.results(FACTS)}
    assert found == {
        "kernel": WARNING,  # it has run on none yet
        "rights": OK,
        "utun": OK,
        "local-network": OK,
        "ipv6": OK,
        "way-home": OK,
        "way-office": OK,
        "scoped-routes": OK,
        "resolvers": OK,
        "extra-trace": OK,
        "extra-top": OK,
        "extra-web": OK,
        "programs": OK,
    }


def test_programs_of_linux_are_not_missed() -> None:
    assert "nft" not in extras.programs(FACTS).finding
    assert extras.programs(FACTS).remedy is None


def test_without_root_or_a_utun_or_ipv6() -> None:
    assert darwin.rights(on(is_root=False)).status is WARNING
    assert darwin.utun(on(tun=TunDevice.ABSENT)).status is MISSING
    bare = FACTS._replace(ways=(WAYS[1],))
    assert darwin.ipv6(bare).status is WARNING


def test_a_tunnel_without_a_default_route_gets_one() -> None:
    found = darwin.scoped_routes(FACTS)
    assert (found.status, "utun3: no default route" in found.finding) == (OK, True)
    has = {**MACHINE.scoped_defaults, "utun3": frozenset({4, 6})}
    assert "every tunnel" in darwin.scoped_routes(on(scoped_defaults=has)).finding


def test_local_network_privacy_where_it_bites(tmp_path: Path) -> None:
    found = darwin.local_network(FACTS)
    assert (found.status, "hosts on the link alone" in found.finding) == (OK, True)
    assert "before 15" in darwin.local_network(on(kernel=(23, 6))).finding
    far = darwin.local_network(by_rules("  - {cidr: 198.51.100.0/24, policy: home}\n", tmp_path))
    assert (far.status, "to which no rule and no proxy leads" in far.finding) == (OK, True)
    near = darwin.local_network(by_rules("  - {cidr: 192.168.1.0/28, policy: home}\n", tmp_path))
    assert (near.status, "192.168.1.0/28 on en0" in near.finding) == (WARNING, True)
    assert "launchd" in str(near.remedy)
    proxy = darwin.local_network(by_rules("  - {cidr: 203.0.113.0/24, policy: proxy}\n", tmp_path))
    assert (proxy.status, "the proxy 192.168.1.9 of 'proxy'" in proxy.finding) == (WARNING, True)


def test_routes_and_resolvers_are_judged_by_rules(tmp_path: Path) -> None:
    facts = by_rules("  - {cidr: 203.0.113.0/24, policy: home}\n", tmp_path)
    assert [each.id for each in darwin.other_routes(facts)] == ["other-routes"]
    (found,) = darwin.resolvers(facts)
    assert "not captured to another way out" in found.finding


def test_resolvers_of_domains_and_interfaces() -> None:
    office = Resolver(((4, 0x0A000035),), "corp.example", "utun3")
    bound = Resolver(((4, 0xC0A80101),), "", "en0", is_scoped=True)
    (found,) = darwin.resolvers(on(resolvers=(office, bound)))
    assert "for corp.example: 10.0.0.53" in found.finding
    assert "for what is bound to en0: 192.168.1.1" in found.finding
    (none,) = darwin.resolvers(FACTS._replace(network=MACBOOK._replace(dns_servers=())))
    assert none.status is WARNING
