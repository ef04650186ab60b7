"""What a configuration of Clash or mihomo decides: the first rule that matches.

Names of policies are followed as that program does on its first start: a `select` or `fallback`
group is at its first member. Whether a proxy carries UDP is left out. A group that measures has no
member that is known, and neither has one without members.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.unit.config.foreign.oracle_text import holds, parts_of
from tests.unit.config.foreign.sampling import Connection, in_any

FIXED = {
    "DIRECT": "bypass",
    "REJECT": "reject",
    "REJECT-DROP": "drop",
    "COMPATIBLE": "bypass",
}


class ClashOracle:
    def __init__(self, path: Path) -> None:
        self._directory = path.parent
        self._config: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        self._rules: list[str] = self._section("rules", "Rule")

    def _section(self, new: str, old: str) -> list[Any]:
        return self._config.get(new) or self._config.get(old) or []

    def decide(self, connection: Connection) -> str:
        for rule in self._rules:
            kind, *rest = parts_of(rule)
            if kind == "MATCH":
                policy, matches = rest[0], True
            else:
                value, policy, *parameters = rest
                matches = holds(kind, value, parameters, connection, self._in_set)
            if matches and policy != "PASS":
                return self._outcome(policy)
        return self._outcome("DIRECT")

    def _in_set(self, name: str, connection: Connection) -> bool:
        provider = self._config["rule-providers"][name]
        if provider["behavior"] == "domain" or provider["type"] == "http":
            return False
        entries = self._entries(provider)
        if provider["behavior"] == "ipcidr":
            return in_any(connection.address, [each for each in entries if "/" in each])
        found = []
        for entry in entries:
            kind, value, *parameters = parts_of(entry)
            found.append(holds(kind, value, parameters, connection, self._in_set))
        return any(found)

    def _entries(self, provider: dict[str, Any]) -> list[str]:
        if provider["type"] == "inline":
            return list(provider["payload"])
        text = (self._directory / provider["path"]).read_text(encoding="utf-8")
        if provider.get("format") == "text":
            return [line for line in text.splitlines() if line[:1].isdigit()]
        return list(yaml.safe_load(text)["payload"])

    def _outcome(self, name: str) -> str:
        interface = self._config.get("interface-name")
        if name == "DIRECT" and interface:
            return f"interface {interface}"
        if name in FIXED:
            return FIXED[name]
        for group in self._section("proxy-groups", "Proxy Group"):
            if group["name"] == name:
                members = group.get("proxies", [])
                is_known = group["type"] in ("select", "fallback") or len(set(members)) == 1
                return self._outcome(members[0]) if members and is_known else "reject"
        (proxy,) = [each for each in self._section("proxies", "Proxy") if each["name"] == name]
        if proxy["type"] == "direct":
            return f"interface {proxy['interface-name']}"
        if proxy["type"] == "socks5":
            host = f"[{proxy['server']}]" if ":" in proxy["server"] else proxy["server"]
            return f"proxy {host}:{proxy['port']}"
        return "reject"
