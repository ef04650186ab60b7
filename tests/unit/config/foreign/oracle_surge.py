"""What a profile of Surge decides: rules with pre-matching first, then the first that matches.

Policies are followed as in the oracle for Clash.
"""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.config.foreign.oracle_text import holds, parts_of
from tests.unit.config.foreign.sampling import Connection, in_any

FIXED = {
    "DIRECT": "bypass",
    "REJECT": "reject",
    "REJECT-NO-DROP": "reject",
    "REJECT-TINYGIF": "reject",
    "REJECT-DROP": "drop",
}
LAN = ["192.168.0.0/16", "10.0.0.0/8", "172.16.0.0/12", "127.0.0.0/8", "100.64.0.0/10", "fe80::/10"]


class SurgeOracle:
    def __init__(self, path: Path) -> None:
        self._directory = path.parent
        self._sections: dict[str, list[str]] = {}
        lines: list[str] = []
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("["):
                lines = self._sections.setdefault(line.strip("[]"), [])
            elif line and line[0] not in "#;/":
                lines.append(re.sub(r" +(//|#|;).*", "", line))
        self._policies = dict(self._assignments("Proxy"))
        self._groups = dict(self._assignments("Proxy Group"))
        rules = [parts_of(rule) for rule in self._sections["Rule"]]
        reached = [rule[0] for rule in rules].index("FINAL") + 1
        rules = rules[:reached]
        self._rules = sorted(rules, key=lambda rule: "pre-matching" not in rule)

    def _assignments(self, section: str) -> list[tuple[str, list[str]]]:
        found = []
        for line in self._sections.get(section, []):
            name, _, value = line.partition(" = ")
            found.append((name, [part.strip() for part in value.split(",")]))
        return found

    def decide(self, connection: Connection) -> str:
        for kind, *rest in self._rules:
            if kind == "FINAL":
                return self._outcome(rest[0], 0)
            value, policy, *parameters = rest
            if holds(kind, value, parameters, connection, self._in_set):
                return self._outcome(policy, 0)
        raise AssertionError("a profile has a FINAL rule")

    def _in_set(self, name: str, connection: Connection) -> bool:
        if name == "LAN":
            return in_any(connection.address, LAN)
        if name == "SYSTEM" or "://" in name:
            return False
        entries = self._sections.get(f"Ruleset {name}")
        if entries is None:
            entries = (self._directory / name).read_text(encoding="utf-8").splitlines()
        found = []
        for entry in entries:
            if entry[0] in "#;/":
                continue
            kind, value, *parameters = parts_of(entry)
            found.append(holds(kind, value, parameters, connection, self._in_set))
        return any(found)

    def _outcome(self, name: str, depth: int) -> str:
        if name in FIXED:
            return FIXED[name]
        if name in self._groups and depth < 10:
            kind, *members = [each for each in self._groups[name] if "=" not in each]
            is_known = kind in ("select", "fallback") or len(set(members)) == 1
            return self._outcome(members[0], depth + 1) if is_known and members else "reject"
        kind, *rest = self._policies.get(name, ["none"])
        options = dict(each.split("=") for each in rest if "=" in each)
        if kind == "socks5":
            return f"proxy {rest[0]}:{rest[1]}"
        if kind == "direct" and "interface" in options:
            return f"interface {options['interface']}"
        return FIXED.get(kind.upper(), "reject")
