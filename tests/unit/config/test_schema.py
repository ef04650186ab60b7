"""The JSON Schema accepts what the loader accepts, and refuses what has a wrong shape."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from router.config.document import Mapping, Node, Scalar, Sequence, parse_document
from router.config.loader import load
from router.config.model import BUILT_IN, PolicyType
from router.config.reading import decode
from router.config.schema import BUILT_IN_POLICIES, POLICY_TYPES, schema_text

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parents[3]
VALIDATOR = Draft202012Validator(json.loads(schema_text()))

VALID_FILES = """\
version: 1
---
version: 1
tun:
policies:
rules:
---
version: 1
tun: {name: utun7, address: 10.7.0.1/24, mtu: 576}
default: reject
---
version: 1
tun: {address: ["fd77::1/64"], mtu: 1280}
policies:
  home: {type: direct, interface: default}
  office: {type: vpn, interface: wg0, on_down: home}
  no: {type: vpn, interface: on, on_down: drop}
rules:
  - {cidr: 192.0.2.1, policy: reply}
  - {cidr: [10.0.0.0/8, "::/0"], policy: office, protocol: icmp}
  - {cidr: 0.0.0.0/0, policy: no, protocol: [tcp, udp], port: [1, 65535, 80-90, "443"]}
  - {file: lists/good.txt, policy: home, port: 53}
  - {file: [lists/good.txt], cidr: "1:2:3:4:5:6:7:8/64", policy: drop}
---
version: 1
default: proxy
policies:
  home: {type: direct, interface: default}
  proxy: {type: socks5, server: "[2001:db8::1]:1080", via: home, udp: reject, icmp: reply}
  other: {type: socks5, server: "proxy.example:1080", on_down: proxy, icmp: other2}
  other2: {type: socks5, server: 192.0.2.1:1080, username: me, password_env: HOME}
rules: [{cidr: 192.0.2.0/24, policy: other}]
---
version: 1
default: home.office-1_b
policies: {home.office-1_b: {interface: eth0.100, type: direct}}
"""
VALID = VALID_FILES.split("---\n")

INVALID_FILES = """\
[]
{}
{version: 2}
{version: "1"}
{version: 1, colour: green}
{version: 1, tun: []}
{version: 1, tun: {mut: 1500}}
{version: 1, tun: {mtu: 67}}
{version: 1, tun: {mtu: 65536}}
{version: 1, tun: {mtu: "1500"}}
{version: 1, tun: {name: a-name-too-long-by-far}}
{version: 1, tun: {name: a/b}}
{version: 1, tun: {address: []}}
{version: 1, tun: {address: example.com}}
{version: 1, policies: []}
{version: 1, default: h, policies: {h: {type: direct}}}
{version: 1, default: h, policies: {h: {interface: eth0}}}
{version: 1, default: h, policies: {h: {type: socks5, interface: eth0}}}
{version: 1, default: h, policies: {h: {type: socks5, server: "192.0.2.1"}}}
{version: 1, default: h, policies: {h: {type: socks5, server: "192.0.2.1:1080", username: me}}}
{version: 1, default: h, policies: {h: {type: socks5, server: "192.0.2.1:1080", udp: no}}}
{version: 1, default: h, policies: {h: {type: direct, interface: "a b"}}}
{version: 1, default: h, policies: {h: {type: direct, interface: ".."}}}
{version: 1, default: h, policies: {h: {type: direct, interface: eth0, metric: 5}}}
{version: 1, default: h, policies: {h: {type: direct, interface: eth0, on_down: bypass}}}
{version: 1, default: h, policies: {h: {type: direct, interface: eth0, on_down: [drop]}}}
{version: 1, policies: {drop: {type: direct, interface: eth0}}}
{version: 1, default: 9h, policies: {9h: {type: direct, interface: eth0}}}
{version: 1, default: "true", policies: {"true": {type: direct, interface: eth0}}}
{version: 1, default: }
{version: 1, default: [drop]}
{version: 1, rules: {}}
{version: 1, rules: [10.0.0.0/8]}
{version: 1, rules: [{}]}
{version: 1, rules: [{policy: drop}]}
{version: 1, rules: [{cidr: 10.0.0.0/8}]}
{version: 1, rules: [{cidr: [], policy: drop}]}
{version: 1, rules: [{cidr: example.com, policy: drop}]}
{version: 1, rules: [{cidr: 10.0.0.0/255.0.0.0, policy: drop}]}
{version: 1, rules: [{cidr: [[10.0.0.0/8]], policy: drop}]}
{version: 1, rules: [{file: [], policy: drop}]}
{version: 1, rules: [{file: "", policy: drop}]}
{version: 1, rules: [{cidr: 10.0.0.0/8, policy: drop, protocol: TCP}]}
{version: 1, rules: [{cidr: 10.0.0.0/8, policy: drop, protocol: []}]}
{version: 1, rules: [{cidr: 10.0.0.0/8, policy: drop, port: 0}]}
{version: 1, rules: [{cidr: 10.0.0.0/8, policy: drop, port: 65536}]}
{version: 1, rules: [{cidr: 10.0.0.0/8, policy: drop, port: http}]}
{version: 1, rules: [{cidr: 10.0.0.0/8, policy: drop, port: 1 - 2}]}
{version: 1, rules: [{cidr: 10.0.0.0/8, policy: drop, ports: 1}]}
"""
INVALID = INVALID_FILES.splitlines()


def as_editors_see(node: Node | None) -> Any:
    """A document as YAML 1.2 (core schema) has it, which editors use."""
    if isinstance(node, Sequence):
        return [as_editors_see(child) for child in node.children]
    if isinstance(node, Mapping):
        return {as_editors_see(key): as_editors_see(value) for key, value in node.entries()}
    if not isinstance(node, Scalar) or node.empty:
        return None
    if node.plain and re.fullmatch(r"[-+]?[0-9]+", node.text):
        return int(node.text)
    if node.plain and node.text.lower() in ("true", "false"):
        return node.text.lower() == "true"
    return node.text


def accepted_by_schema(text: str) -> bool:
    return VALIDATOR.is_valid(as_editors_see(parse_document("rules.yaml", text).root))


def accepted_by_loader(directory: Path, text: str) -> bool:
    (directory / "lists").mkdir(exist_ok=True)
    (directory / "lists/good.txt").write_text("10.0.0.0/8\n")
    (directory / "rules.yaml").write_text(text)
    return load(directory / "rules.yaml").config is not None


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json.loads(schema_text()))


def test_the_schema_has_the_policies_of_the_model() -> None:
    assert set(BUILT_IN_POLICIES) == {kind.value for kind in BUILT_IN}
    assert set(POLICY_TYPES) | set(BUILT_IN_POLICIES) == {kind.value for kind in PolicyType}


@pytest.mark.parametrize("text", VALID)
def test_valid_rules_are_accepted_by_schema_and_loader(tmp_path: Path, text: str) -> None:
    assert accepted_by_loader(tmp_path, text)
    assert accepted_by_schema(text)


@pytest.mark.parametrize("text", INVALID)
def test_a_wrong_shape_is_refused_by_schema_and_loader(tmp_path: Path, text: str) -> None:
    assert not accepted_by_loader(tmp_path, text)
    assert not accepted_by_schema(text)


def test_the_example_is_accepted() -> None:
    assert accepted_by_schema((ROOT / "rules.example.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_schema_accepts_what_the_loader_warns_of(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(GOLDEN)
    if load(path.name).config is not None:
        text, _ = decode(path.name, path.read_bytes())
        assert accepted_by_schema(text)
