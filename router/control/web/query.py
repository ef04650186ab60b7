"""What a query asks for: which flows in which order, which rules, what is to be explained.

Always true: an invalid value is a BadQueryError that names it and what is valid.

Must not know: HTTP, where flows and rules come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from router.flows.report import NAMES

FLOW_ORDERS: Final = ("bytes", "age", "idle")
MOST: Final = 10_000_000
LAST_PORT: Final = 65535
SEARCHED: Final = ("source", "destination", "policy", "protocol", "interface", "outside", "state")

Row = Mapping[str, Any]
Query = Mapping[str, str]


class BadQueryError(ValueError):
    """The message names the value and the remedy."""


def chosen_flows(flows: Sequence[Row], query: Query) -> tuple[int, list[Row]]:
    """How many match, and the first of them, as far as a `limit` goes."""
    policy, protocol = query.get("policy"), one_of(query, "protocol", tuple(NAMES))
    rule = number(query, "rule", 0, MOST)
    words = query.get("search", "").lower().split()
    found = [
        flow
        for flow in flows
        if (policy is None or flow["policy"] == policy)
        and (protocol is None or flow["protocol"] == protocol)
        and (rule is None or (flow["rule"] or 0) == rule)
        and (not words or _has(flow, words))
    ]
    order = one_of(query, "sort", FLOW_ORDERS) or "bytes"
    found.sort(key=lambda flow: _size(flow, order), reverse=True)
    limit = number(query, "limit", 0, MOST)
    return len(found), found if limit is None else found[:limit]


def busiest_rules(rules: Sequence[Row], limit: int) -> list[Row]:
    """As many, those with the most packets, in the order of the file."""
    if len(rules) <= limit:
        return list(rules)
    kept = sorted(rules, key=lambda rule: rule["packets"], reverse=True)[:limit]
    return sorted(kept, key=lambda rule: int(rule["index"]))


def question(query: Query) -> dict[str, Any]:
    """The members of a request to explain."""
    destination = query.get("destination", "").strip()
    if not destination:
        raise BadQueryError("name a destination: an address or a host name")
    return {
        "destination": destination,
        "protocol": one_of(query, "protocol", tuple(NAMES)),
        "port": number(query, "port", 1, LAST_PORT),
    }


def number(query: Query, name: str, least: int, most: int) -> int | None:
    """None where there is nothing. Raises BadQueryError."""
    text = query.get(name, "")
    if not text:
        return None
    if text.isascii() and text.isdecimal() and least <= int(text[:12]) <= most:
        return int(text[:12])
    raise BadQueryError(f"{name} cannot be {text[:40]!r}: it is a number from {least} to {most}")


def one_of(query: Query, name: str, known: Sequence[str]) -> str | None:
    """None where there is nothing. Raises BadQueryError."""
    text = query.get(name, "")
    if not text:
        return None
    if text in known:
        return text
    raise BadQueryError(f"{name} cannot be {text[:40]!r}: it is one of {', '.join(known)}")


def _has(flow: Row, words: Sequence[str]) -> bool:
    """Whether each word is in one of its members; ports as in `198.51.100.1:443`."""
    text = " ".join(str(flow[name] or "") for name in SEARCHED).lower()
    ports = (
        f" {flow['source']}:{flow['source_port']} {flow['destination']}:{flow['destination_port']}"
    )
    whole = text + ports.lower()
    return all(word in whole for word in words)


def _size(flow: Row, order: str) -> float:
    """What is not known comes last."""
    if order == "bytes":
        return float((flow["bytes_out"] or 0) + (flow["bytes_in"] or 0))
    value = flow[f"{order}_s"]
    return -1.0 if value is None else float(value)
