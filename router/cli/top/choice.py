"""Which flows are shown, and in which order.

Must not know: how they are drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from router.cli.top.model import FlowRow

Answer = Mapping[str, Any]


def total_bytes(row: FlowRow) -> int | None:
    """In both directions; None where neither is known."""
    counted = [row.flow[name] for name in ("bytes_out", "bytes_in")]
    known = [number for number in counted if number is not None]
    return sum(known) if known else None


VALUES: Final[Mapping[str, Callable[[FlowRow], float | None]]] = {
    "rate": lambda row: row.rates.both,
    "bytes": total_bytes,
    "rtt": lambda row: row.flow.get("rtt_ms"),
    "age": lambda row: row.flow["age_s"],
    "idle": lambda row: row.flow["idle_s"],
}
ORDERS: Final = tuple(VALUES)
"""What flows can be sorted by, the largest first."""
NAMED: Final[Mapping[str, Callable[[Answer], tuple[object, ...]]]] = {
    "policy": lambda flow: (flow["policy"],),
    "rule": lambda flow: (flow["rule"] or "default",),
    "port": lambda flow: (flow["source_port"], flow["destination_port"]),
    "host": lambda flow: (flow["source"], flow["destination"], flow["outside"]),
    "path": lambda flow: (flow["path"],),
    "state": lambda flow: (flow["state"],),
}
"""What a word `name:value` of a filter is compared with."""
SEARCHED: Final = ("protocol", "source", "destination", "outside", "policy", "interface", "state")
"""What another word is looked for in."""


def following(order: str) -> str:
    """The order after this one."""
    return ORDERS[(ORDERS.index(order) + 1) % len(ORDERS)]


def chosen(rows: Iterable[FlowRow], text: str, order: str) -> list[FlowRow]:
    """Those that a filter admits, the largest first; where that is not known, last.

    text: words, all of which have to fit, as `policy:home`, `port:443`, `tcp` or `198.51`.
    """
    words = text.lower().split()
    value = VALUES[order]

    def size(row: FlowRow) -> tuple[float, float]:
        found = value(row)
        return -1.0 if found is None else float(found), total_bytes(row) or 0.0

    return sorted((row for row in rows if _fits(row.flow, words)), key=size, reverse=True)


def _fits(flow: Answer, words: Iterable[str]) -> bool:
    return all(_has(flow, word) for word in words)


def _has(flow: Answer, word: str) -> bool:
    name, _, wanted = word.partition(":")
    if name in NAMED and wanted:
        return wanted in [str(value).lower() for value in NAMED[name](flow)]
    texts = (str(flow[name]).lower() for name in SEARCHED if flow[name] is not None)
    return any(word in text for text in texts)
