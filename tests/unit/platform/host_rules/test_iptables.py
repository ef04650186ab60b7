"""Rules of iptables, both those in nf_tables and those in ip_tables, as an output of eth0 sees
them."""

from __future__ import annotations

import base64
import zlib
from ipaddress import ip_address
from pathlib import Path

import pytest

from router.platform.linux.host_rules import constants as nf
from router.platform.linux.host_rules import iptables
from router.platform.linux.host_rules.expressions import Scope, StepReader
from router.platform.linux.host_rules.iptables import LAYOUTS, UNREPORTED, has_tables, parse_table
from router.platform.linux.netlink.messages import each_attribute
from router.policy.host_rules.judgement import judge
from router.policy.host_rules.model import DirectOutput, Effect, Table
from tests.unit.platform.host_rules.recorded import IP_TABLES, MARKS, NFT_COMPAT

ETH0 = DirectOutput("eth0", 2, [ip_address("192.0.2.5"), ip_address("2001:db8::5")])
WLAN0 = DirectOutput("wlan0", 3, [ip_address("198.51.100.7"), ip_address("2001:db8:1::7")])

REFUSING_A_MARK = "-A OUTPUT -o eth0 -m mark --mark 0x8000/0x8000 -j DROP"
RESTORING_MARKS = "-t mangle -A OUTPUT -j CONNMARK --restore-mark"
WORST = {
    "-t nat -A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE": None,
    "-t nat -A POSTROUTING -s 192.168.0.0/20 ! -o br-1 -j MASQUERADE": None,
    "-t nat -A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j RETURN": None,
    "-A OUTPUT -o virbr0 -p udp --dport 68 -j ACCEPT": None,
    "-A OUTPUT -d 127.0.0.0/8 -j LOG": None,
    "-t nat -A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE": Effect.TRANSLATES,
    "-t nat -A POSTROUTING -o eth+ -j SNAT --to-source 198.51.100.1": Effect.TRANSLATES,
    "-t mangle -A OUTPUT -j MARK --set-mark 3": Effect.ALTERS,
    "-A OUTPUT -m recent --set": Effect.LIMITS,
    "-A OUTPUT -m string --algo bm --string x -j DROP": Effect.INSPECTS,
    "-A OUTPUT -m addrtype ! --dst-type LOCAL -j NFLOG": Effect.LOGS,
    "-A OUTPUT -o wlan0 -j DROP": None,
    "-A OUTPUT -p tcp -j DROP": Effect.COUNTS,
    "-A OUTPUT -p tcp -j REJECT": Effect.COUNTS,
    REFUSING_A_MARK: Effect.COUNTS,
    RESTORING_MARKS: Effect.ALTERS,
}
REFUSING = frozenset(
    {
        "-A OUTPUT -m string --algo bm --string x -j DROP",
        "-A OUTPUT -p tcp -j DROP",
        "-A OUTPUT -p tcp -j REJECT",
        REFUSING_A_MARK,
    }
)


def obstacle(table: Table, output: DirectOutput) -> str | None:
    return judge([table], [output]).obstacles.get(output.interface)


@pytest.mark.parametrize("rule", NFT_COMPAT)
def test_a_rule_in_nf_tables(rule: str) -> None:
    rules = judge([in_nf_tables(rule)], [ETH0])
    found = rules.obstacles.get("eth0")
    worst = WORST[rule]
    assert found == (None if worst is None else f"t {worst.value} (chain OUTPUT)")
    refused = {"eth0": f"t {Effect.REFUSES.value} (chain OUTPUT)"} if rule in REFUSING else {}
    assert rules.refusals == refused


def in_nf_tables(rule: str) -> Table:
    expressions = each_attribute(bytes.fromhex(NFT_COMPAT[rule]))
    elements = (payload for kind, payload in expressions if kind == nf.NFTA_LIST_ELEM)
    steps = StepReader(Scope({}, frozenset())).rule(elements)
    return Table("t", (4,), {"OUTPUT": [steps]}, ["OUTPUT"])


def test_a_mark_in_nf_tables() -> None:
    refusing, restoring = in_nf_tables(REFUSING_A_MARK), in_nf_tables(RESTORING_MARKS)
    clause = f"t {Effect.REFUSES_MARK.value} (chain OUTPUT)"
    assert judge([refusing], [ETH0, WLAN0]).mark_checks == {"eth0": clause}
    assert judge([refusing, restoring], [ETH0]).mark_checks == {}


@pytest.mark.parametrize("program", ["iptables", "ip6tables"])
def test_a_mark_in_ip_tables(program: str) -> None:
    table = parsed(program, "filter", MARKS[program])
    clause = f"{program} table filter {Effect.REFUSES_MARK.value} (chain OUTPUT)"
    assert judge([table, UNREPORTED], [ETH0, WLAN0]).mark_checks == {"eth0": clause}


def recorded(program: str, name: str) -> Table:
    return parsed(program, name, IP_TABLES[program, name])


def parsed(program: str, name: str, listing: tuple[dict[int, int], str]) -> Table:
    (layout,) = (each for each in LAYOUTS if each.program == program)
    hooks, packed = listing
    return parse_table(layout, name, zlib.decompress(base64.b64decode(packed)), hooks)


@pytest.mark.parametrize("program", ["iptables", "ip6tables"])
@pytest.mark.parametrize(
    ("name", "output", "clause"),
    [
        ("nat", ETH0, None),
        ("mangle", ETH0, "changes or marks what leaves (chain EARLY)"),
        ("mangle", WLAN0, None),
        ("filter", ETH0, "counts what leaves in order to limit it (chain OUTPUT)"),
        ("filter", WLAN0, "logs what leaves (chain OUTPUT)"),
    ],
)
def test_a_table_of_ip_tables(
    program: str, name: str, output: DirectOutput, clause: str | None
) -> None:
    found = obstacle(recorded(program, name), output)
    assert found == (None if clause is None else f"{program} table {name} {clause}")


@pytest.mark.parametrize("program", ["iptables", "ip6tables"])
def test_the_chains_of_ip_tables(program: str) -> None:
    nat = recorded(program, "nat")
    assert nat.outgoing == ["OUTPUT", "POSTROUTING"]
    assert {name: len(rules) for name, rules in nat.chains.items()} == {
        "PREROUTING": 0,
        "INPUT": 0,
        "OUTPUT": 1,
        "POSTROUTING": 1,
        "DOCKER": 1,
    }


@pytest.mark.parametrize("program", ["iptables", "ip6tables"])
def test_published_ports_of_docker_are_translated_requests(program: str) -> None:
    """Its PREROUTING has the rule that OUTPUT has: `-m addrtype --dst-type LOCAL -j DOCKER`."""
    nat = recorded(program, "nat")
    prerouting = Table(nat.words, nat.versions, nat.chains, [], ["OUTPUT"])
    assert judge([prerouting], [ETH0]).translates_requests
    assert not judge([nat], [ETH0]).translates_requests


@pytest.mark.parametrize(
    ("listings", "found"),
    [
        ({}, False),
        ({4: "", 6: ""}, False),
        ({4: "filter\n"}, True),
        ({4: "", 6: "mangle\nfilter\n"}, True),
    ],
)
def test_whether_ip_tables_has_tables(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listings: dict[int, str], found: bool
) -> None:
    """A kernel without ip_tables has no listing."""
    for version, listing in listings.items():
        (tmp_path / str(version)).write_text(listing)
    layouts = [each._replace(names=tmp_path / str(each.version)) for each in LAYOUTS]
    monkeypatch.setattr(iptables, "LAYOUTS", layouts)
    assert has_tables() == found


def test_whatever_is_in_ip_tables_its_changes_are_not_reported() -> None:
    assert judge([UNREPORTED], [ETH0, WLAN0]).refusals == dict.fromkeys(
        ("eth0", "wlan0"), "iptables-legacy can change without a report"
    )
    assert judge([UNREPORTED], [ETH0]).obstacle is None
