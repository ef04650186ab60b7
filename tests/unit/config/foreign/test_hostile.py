"""Configurations that cost much, or that their program would refuse: bounded, and noted."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.config.foreign import conditions, lists
from router.config.reading import RulesFileUnreadable
from tests.unit.config.foreign.imports import of_text

SETS = 3000
SING_BOX = '{"outbounds": [{"type": "direct", "tag": "d"}], "route": %s}'


def _provider(number: int) -> str:
    payload = f"['RULE-SET,r{number + 1}', 'IP-CIDR,10.0.{number % 256}.0/24']"
    return f"  r{number}: {{type: inline, behavior: classical, payload: {payload}}}\n"


def test_rule_sets_within_each_other_are_bounded(tmp_path: Path) -> None:
    providers = "".join(map(_provider, range(SETS)))
    text = f"rule-providers:\n{providers}rules:\n  - RULE-SET,r0,REJECT\n"
    found, made = of_text("clash", tmp_path, text)
    assert "10.0.0.0/24" in made
    assert any("rule sets are nested more than 8 deep" in note.why for note in found.notes)


def test_rule_sets_of_surge_within_each_other_are_bounded(tmp_path: Path) -> None:
    sets = "".join(
        f"[Ruleset r{number}]\nRULE-SET,r{number + 1}\nIP-CIDR,10.0.{number % 256}.0/24\n"
        for number in range(SETS)
    )
    found, made = of_text("surge", tmp_path, f"[Rule]\nRULE-SET,r0,REJECT\nFINAL,DIRECT\n{sets}")
    assert "10.0.0.0/24" in made
    assert any("rule sets are nested more than 8 deep" in note.why for note in found.notes)


def _groups(depth: int) -> str:
    """Each level of two groups has both groups of the next one: 2^depth ways to the end."""
    lines = [
        f"  - {{name: {side}{level}, type: url-test, proxies: [a{level + 1}, b{level + 1}]}}\n"
        for level in range(depth)
        for side in "ab"
    ]
    ends = [f"  - {{name: {side}{depth}, type: url-test, proxies: [DIRECT]}}\n" for side in "ab"]
    return f"proxy-groups:\n{''.join([*lines, *ends])}rules: ['MATCH,a0']\n"


def test_each_group_is_followed_once(tmp_path: Path) -> None:
    _, made = of_text("clash", tmp_path, _groups(40))
    assert "default: bypass" in made


def test_groups_of_groups_are_bounded(tmp_path: Path) -> None:
    groups = "".join(
        f"  - {{name: g{number}, type: select, proxies: [g{number + 1}]}}\n"
        for number in range(3000)
    )
    text = f"proxy-groups:\n{groups}rules: ['MATCH,g0']\n"
    found, made = of_text("clash", tmp_path, text)
    assert "default: reject" in made
    assert any("more than 64 groups lead to it" in note.why for note in found.notes)


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("clash", "payload:\n  - 10.0.0.0/8\n  - 11.0.0.0/8\n  - 12.0.0.0/8\n"),
        ("surge", "10.0.0.0/8\n11.0.0.0/8\n12.0.0.0/8\n"),
        ("sing-box", '["10.0.0.0/8", "11.0.0.0/8", "12.0.0.0/8"]'),
    ],
)
def test_networks_of_a_list_alone_are_bounded(
    tmp_path: Path, program: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "NETWORKS", 3)
    assert of_text(program, tmp_path, text)[0].networks
    monkeypatch.setattr(lists, "NETWORKS", 2)
    with pytest.raises(RulesFileUnreadable, match="more than 2 networks"):
        of_text(program, tmp_path, text)


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("{}", "it has no condition"),
        ("3", "it has no condition"),
        ('{"rule_set": "b"}', "rule sets within a rule set"),
        ('{"rule_set": "b", "ip_cidr": "10.0.0.0/8"}', "rule sets within a rule set"),
    ],
)
def test_rules_of_a_rule_set_that_would_match_all(tmp_path: Path, rule: str, why: str) -> None:
    sets = f'[{{"tag": "a", "type": "inline", "rules": [{rule}]}}]'
    route = f'{{"rules": [{{"rule_set": "a", "outbound": "d"}}], "rule_set": {sets}}}'
    found, made = of_text("sing-box", tmp_path, SING_BOX % route)
    assert "cidr" not in made
    assert any(why in note.why for note in found.notes), found.notes


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ('"port": 443', "a list has networks alone"),
        ('"invert": true', "a list has networks alone"),
        ('"process_name": "x"', "it matches programs"),
    ],
)
def test_lists_have_no_networks_of_rules_with_other_conditions(
    tmp_path: Path, more: str, why: str
) -> None:
    text = f'{{"version": 1, "rules": [{{"ip_cidr": "10.0.0.0/8", {more}}}]}}'
    found, made = of_text("sing-box", tmp_path, text)
    assert made == ""
    assert [why in note.why for note in found.notes] == [True]


def test_names_beside_the_networks_of_a_list_are_left_out(tmp_path: Path) -> None:
    text = '{"version": 1, "rules": [{"ip_cidr": "10.0.0.0/8", "domain": "example.org"}]}'
    found, made = of_text("sing-box", tmp_path, text)
    assert made == "10.0.0.0/8\n"
    assert [note.what for note in found.notes] == ["domain"]


def test_a_proxy_of_surge_without_server(tmp_path: Path) -> None:
    text = "[Proxy]\nx = socks5\n[Rule]\nIP-CIDR,10.0.0.0/8,x\nFINAL,DIRECT\n"
    found, _ = of_text("surge", tmp_path, text)
    assert found.notes[0].why == "it has no server and port"


@pytest.mark.parametrize("name", ["../secret.txt", "{outside}", "inside/link.txt"])
def test_lists_outside_of_its_directory_are_not_read(tmp_path: Path, name: str) -> None:
    outside = tmp_path / "secret.txt"
    outside.write_text("203.0.113.0/24\n", encoding="utf-8")
    directory = tmp_path / "configuration"
    (directory / "inside").mkdir(parents=True)
    (directory / "inside" / "link.txt").symlink_to(outside)
    provider = (
        f"{{type: file, behavior: ipcidr, format: text, path: {name.format(outside=outside)}}}"
    )
    text = f"rule-providers:\n  r: {provider}\nrules: ['RULE-SET,r,REJECT']\n"
    found, made = of_text("clash", directory, text)
    assert "203.0.113.0" not in made
    assert any("is not below the directory" in note.why for note in found.notes), found.notes


def test_what_is_written_commands_no_terminal_and_no_line_of_its_own(tmp_path: Path) -> None:
    """Names with escape sequences, bidirectional marks and lines that would be rules."""
    name = r"\e[31m\u202ep\n  - {cidr: 0.0.0.0/0, policy: drop}"
    text = (
        f'proxies: [{{name: "{name}", type: socks5, server: "{name}", port: 1}}]\n'
        f'interface-name: "{name}"\n'
        f'rules: ["IP-CIDR,10.0.0.0/8,{name}", "{name},b,c"]\n'
    )
    found, made = of_text("clash", tmp_path, text)
    written = [*made.splitlines(), *map(str, found.notes)]
    assert all(line.isprintable() for line in written), written
    assert not any(line.startswith("  - {cidr: 0.0.0.0/0") for line in written), written


def _pairs(number: int) -> str:
    """Networks with a port each, which no list can join."""
    parts = (f"(AND,((IP-CIDR,10.0.{each}.0/24),(DST-PORT,{each + 1})))" for each in range(number))
    return f"(OR,({','.join(parts)}))"


def _routes(rule: str, number: int = 1) -> str:
    rules = ", ".join([f'{{{rule}, "outbound": "d"}}'] * number)
    return SING_BOX % f'{{"rules": [{rules}]}}'


INTERSECTION = f"AND,({_pairs(20)},{_pairs(20)}),REJECT\n"
OF_SURGE = INTERSECTION.replace("DST-PORT", "DEST-PORT")
PORTS = ",".join(map(str, range(1, 801, 2)))
OF_PORTS = (
    f'"type": "logical", "mode": "and", "rules": [{{"port": [{PORTS}]}}, {{"port": [{PORTS}]}}]'
)
INVERTED = '"ip_cidr": ["2001:db8:1::1", "2001:db8:2::1", "2001:db8:3::1"], "invert": true'


@pytest.mark.parametrize(
    ("program", "text", "why"),
    [
        ("clash", "rules:\n" + f"  - {INTERSECTION}" * 9, "two lists as long as these"),
        ("surge", f"[Rule]\n{OF_SURGE * 9}FINAL,DIRECT\n", "two lists as long as these"),
        ("sing-box", _routes(OF_PORTS), "two lists as long as these"),
        ("sing-box", _routes(INVERTED, 40), "everything but the networks of a list as long"),
    ],
)
def test_the_work_of_all_rules_together_is_bounded(
    tmp_path: Path, program: str, text: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only that of one: a file can repeat it a thousand times."""
    monkeypatch.setattr(conditions, "MOST_WORK", 10_000)
    found, _ = of_text(program, tmp_path, text)
    assert any(why in note.why for note in found.notes), found.notes
