"""The proxies whose addresses are exempted from capture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from router.config.loader import load
from router.policy.proxies import known_servers

RULES = """\
version: 1
policies:
  named: {type: socks5, server: "proxy.example:1080"}
  literal: {type: socks5, server: "[2001:db8::1]:1081"}
  behind: {type: socks5, server: "192.0.2.9:1082", via: literal}
rules: []
default: bypass
"""


def test_a_name_counts_with_what_it_was_resolved_to(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES, encoding="utf-8")
    config = load(file).config
    assert config is not None
    named = config.policies["named"]
    assert named.proxy is not None
    proxy = replace(named.proxy, resolved=(bytes((192, 0, 2, 1)), bytes(15) + b"\x02"))
    policies = {**config.policies, "named": replace(named, proxy=proxy)}
    found = known_servers(replace(config, policies=policies))
    assert [tuple(server) for server in found] == [
        ("named", 4, 0xC0000201, 1080),
        ("named", 6, 2, 1080),
        ("literal", 6, 0x20010DB8 << 96 | 1, 1081),
    ]
