"""What a configuration of sing-box decides: the first rule with a final action that matches.

A rule is looked at as its documentation has it: (names or addresses) and (ports) and all others.
The fields of the only rule of a rule set are joined to those of the rule that names the set; of a
set with several rules one has to match beside those. Outbounds are followed as in the oracle for
Clash. tests/release/test_sing_box.py compares it with the program.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from tests.unit.config.foreign.sampling import Connection, in_any, is_private

Rule = dict[str, Any]

NAMES = ("domain", "domain_suffix", "domain_keyword", "domain_regex")
KNOWN = {
    *NAMES,
    *("ip_cidr", "ip_is_private", "port", "port_range", "network", "ip_version", "rule_set"),
    *("action", "outbound", "method", "type", "mode", "rules"),
}
METHODS = {"default": "reject", "drop": "drop", "reply": "reply"}


def read(path: Path) -> Any:
    """JSON with comments on lines of their own, and with a comma too many."""
    text = re.sub(r"^\s*(//.*|/\*.*\*/)$", "", path.read_text(encoding="utf-8"), flags=re.M)
    return json.loads(re.sub(r",(\s*[}\]])", r"\1", text))


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value in (None, "") else [value]


class SingBoxOracle:
    def __init__(self, path: Path) -> None:
        self._directory = path.parent
        config = read(path)
        self._outbounds = {each["tag"]: each for each in config["outbounds"]}
        self._route = config["route"]
        self._sets = {each["tag"]: each for each in self._route.get("rule_set", [])}
        inbounds = config.get("inbounds", [])
        self._auto_redirect = any(each.get("auto_redirect") for each in inbounds)

    def decide(self, connection: Connection) -> str:
        for rule in self._route["rules"]:
            action = rule.get("action", "route")
            if action in ("sniff", "hijack-dns") or not self._matches(rule, connection):
                continue
            if action == "reject":
                return METHODS[rule.get("method", "default")]
            if "outbound" in rule:
                return self.outcome(rule["outbound"])
            if self._auto_redirect:
                return "bypass"
        return self.outcome(self.final)

    @property
    def final(self) -> str:
        return str(self._route.get("final") or next(iter(self._outbounds)))

    def _matches(self, rule: Rule, connection: Connection) -> bool:
        if rule.get("invert"):
            plain = {key: value for key, value in rule.items() if key != "invert"}
            return not plain.keys() - KNOWN and not self._matches(plain, connection)
        if rule.get("type") == "logical":
            found = [self._matches(each, connection) for each in rule["rules"]]
            return all(found) if rule["mode"] == "and" else any(found)
        if {key for key, value in rule.items() if value is not False} - KNOWN:
            return False
        if "rule_set" not in rule:
            return _plain(rule, connection)
        return any(
            self._matches_with_set(rule, self._rules_of(tag), connection)
            for tag in listed(rule["rule_set"])
        )

    def _matches_with_set(self, rule: Rule, inner: list[Rule], connection: Connection) -> bool:
        usable = [each for each in inner if each.keys() <= KNOWN]
        if len(inner) == 1:
            return any(_plain(_joined(rule, each), connection) for each in usable)
        return _plain(rule, connection) and any(_plain(each, connection) for each in usable)

    def _rules_of(self, tag: str) -> list[Rule]:
        found = self._sets[tag]
        if found["type"] == "remote":
            return []
        if found["type"] == "local":
            return list(read(self._directory / found["path"])["rules"])
        return list(found["rules"])

    def outcome(self, tag: str) -> str:
        """What becomes of a connection that is sent to an outbound."""
        outbound = self._outbounds.get(tag, {"type": "none"})
        kind = outbound["type"]
        interface = outbound.get("bind_interface") or self._route.get("default_interface")
        if kind == "selector":
            return self.outcome(outbound.get("default", outbound["outbounds"][0]))
        if kind == "direct":
            return f"interface {interface}" if interface else "bypass"
        if kind == "socks" and outbound.get("version", "5") == "5":
            return f"proxy {outbound['server']}:{outbound['server_port']}"
        return "reject"


def _joined(rule: Rule, inner: Rule) -> Rule:
    joined = dict(rule)
    for key, value in inner.items():
        if key == "network":
            both = set(listed(value)) & set(listed(rule.get(key, value)))
            joined[key] = sorted(both) or ["none"]
        else:
            joined[key] = [*listed(rule.get(key)), *listed(value)]
    return joined


def _plain(rule: Rule, connection: Connection) -> bool:
    address, port = connection.address, connection.port
    of_addresses = [
        in_any(address, listed(rule.get("ip_cidr"))),
        bool(rule.get("ip_is_private")) and is_private(address),
    ]
    has_addresses = any(rule.get(key) for key in (*NAMES, "ip_cidr", "ip_is_private"))
    if has_addresses and not any(of_addresses):
        return False
    ranges = [each.split(":") for each in listed(rule.get("port_range"))]
    of_ports = [port in listed(rule.get("port"))]
    of_ports += [int(low or 0) <= port <= int(high or 65535) for low, high in ranges]
    if (rule.get("port") or ranges) and not any(of_ports):
        return False
    if rule.get("network") and connection.protocol not in listed(rule["network"]):
        return False
    return "ip_version" not in rule or rule["ip_version"] == address.version
