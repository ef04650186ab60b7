"""Rules of sing-box that name a rule set and have conditions of their own: a set of a single plain
rule is merged with them, of any other set a rule has to match beside them.

What is expected is what sing-box 1.14.4 decides; tests/release/test_sing_box.py asks it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.config.foreign.imports import of_text

Fields = dict[str, object]

OWN: Fields = {"ip_cidr": ["13.0.0.0/8"]}
OTHER: Fields = {"ip_cidr": ["15.0.0.0/9"]}
WITHIN: Fields = {"ip_cidr": ["13.1.0.0/16"]}
HTTPS: Fields = {"port": 443}
EVERYTHING = '[0.0.0.0/0, "::/0"]'


def imported_rules(directory: Path, *rules: Fields, sets: dict[str, list[Fields]]) -> list[str]:
    named = [{"tag": tag, "rules": found} for tag, found in sets.items()]
    route = {"rules": [{**rule, "outbound": "d"} for rule in rules], "rule_set": named}
    configuration = {"outbounds": [{"type": "direct", "tag": "d"}], "route": route}
    _, text = of_text("sing-box", directory, json.dumps(configuration))
    lines = [line.strip() for line in text.splitlines() if "cidr:" in line]
    return [line.partition(", policy:")[0].removeprefix("- {") for line in lines]


@pytest.mark.parametrize(
    ("own", "of_the_set", "expected"),
    [
        (OWN, [OTHER], ["cidr: [13.0.0.0/8, 15.0.0.0/9]"]),
        (OWN, [HTTPS], ["cidr: 13.0.0.0/8, port: 443"]),
        ({"port": 80}, [HTTPS], [f"cidr: {EVERYTHING}, port: [80, 443]"]),
        ({"port": 80}, [OTHER], ["cidr: 15.0.0.0/9, port: 80"]),
        ({"domain": "example.org"}, [OTHER], ["cidr: 15.0.0.0/9"]),
        (OWN, [{"domain": "example.org"}], ["cidr: 13.0.0.0/8"]),
    ],
)
def test_a_set_of_one_rule_is_merged(
    tmp_path: Path, own: Fields, of_the_set: list[Fields], expected: list[str]
) -> None:
    rule = {**own, "rule_set": "s"}
    assert imported_rules(tmp_path, rule, sets={"s": of_the_set}) == expected


@pytest.mark.parametrize(
    ("own", "of_the_set", "expected"),
    [
        (OWN, [OTHER, OTHER], []),
        (OWN, [WITHIN, OTHER], ["cidr: 13.1.0.0/16"]),
        (OWN, [OTHER, HTTPS], ["cidr: 13.0.0.0/8, port: 443"]),
        ({"port": 80}, [HTTPS, OTHER], ["cidr: 15.0.0.0/9, port: 80"]),
        ({"domain": "example.org"}, [OTHER, HTTPS], []),
        (OWN, [WITHIN, {"process_name": "curl"}], ["cidr: 13.1.0.0/16"]),
        ({}, [OTHER, WITHIN], ["cidr: [15.0.0.0/9, 13.1.0.0/16]"]),
    ],
)
def test_of_a_set_of_several_one_has_to_match_too(
    tmp_path: Path, own: Fields, of_the_set: list[Fields], expected: list[str]
) -> None:
    rule = {**own, "rule_set": "s"}
    assert imported_rules(tmp_path, rule, sets={"s": of_the_set}) == expected


def test_each_set_of_a_rule_by_itself(tmp_path: Path) -> None:
    """One of a single rule and one of several."""
    rule = {**OWN, "rule_set": ["one", "several"]}
    found = imported_rules(tmp_path, rule, sets={"one": [HTTPS], "several": [WITHIN, OTHER]})
    assert found == ["cidr: 13.0.0.0/8, port: 443", "cidr: 13.1.0.0/16"]


@pytest.mark.parametrize("auto_redirect", [True, False])
def test_bypass_without_outbound_decides_for_auto_redirect_alone(
    tmp_path: Path, auto_redirect: bool
) -> None:
    configuration = {
        "inbounds": [{"type": "tun", "auto_redirect": auto_redirect}],
        "outbounds": [{"type": "direct", "tag": "d"}],
        "route": {"rules": [{**OWN, "action": "bypass"}]},
    }
    found, text = of_text("sing-box", tmp_path, json.dumps(configuration))
    assert ("{cidr: 13.0.0.0/8, policy: bypass}" in text) is auto_redirect
    noted = [note for note in found.notes if "auto_redirect" in note.why]
    assert bool(noted) is not auto_redirect
