"""Clash's, mihomo's and Surge's rules decided one by one, from their own text: slow, and obviously
right. A condition about anything but address, port and protocol does not hold.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.config.foreign.sampling import (
    Connection,
    inside,
    is_private,
    is_unspecified,
)

InSet = Callable[[str, Connection], bool]
"""Whether a connection matches the rule set of a name."""


def parts_of(text: str) -> list[str]:
    """At the commas outside of parentheses."""
    parts, depth = [""], 0
    for char in text:
        depth += (char == "(") - (char == ")")
        if char == "," and not depth:
            parts.append("")
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def holds(
    kind: str, value: str, parameters: list[str], connection: Connection, sets: InSet
) -> bool:
    """Whether a condition holds."""
    if kind in ("AND", "OR", "NOT"):
        return _logical(kind, value, connection, sets)
    conditions: dict[str, Callable[[], bool]] = {
        "IP-CIDR": lambda: inside(connection.address, value),
        "IP-CIDR6": lambda: inside(connection.address, value),
        "DST-PORT": lambda: any(_port(each, connection.port) for each in value.split("/")),
        "DEST-PORT": lambda: _port(value, connection.port),
        "NETWORK": lambda: value.lower() == connection.protocol,
        "PROTOCOL": lambda: value.lower() == connection.protocol,
        "GEOIP": lambda: value == "LAN" and _is_lan(connection),
        "RULE-SET": lambda: sets(value, connection),
    }
    return kind in conditions and "src" not in parameters and conditions[kind]()


def _is_lan(connection: Connection) -> bool:
    return is_private(connection.address) or is_unspecified(connection.address)


def _logical(kind: str, value: str, connection: Connection, sets: InSet) -> bool:
    found = []
    for part in parts_of(value[1:-1]):
        inner, of, *parameters = parts_of(part[1:-1])
        found.append(holds(inner, of, parameters, connection, sets))
    if kind == "NOT":
        return not found[0]
    return all(found) if kind == "AND" else any(found)


def _port(written: str, port: int) -> bool:
    if written.startswith(">="):
        return port >= int(written[2:])
    first, _, last = written.partition("-")
    return int(first) <= port <= int(last or first)
