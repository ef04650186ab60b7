"""The policies, a line each: flows, round trip, loss, rates with sparklines; why one is down."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from router.cli.status_text import UNITS, quantity
from router.cli.top.cells import RIGHT, cell, line, sparkline
from router.cli.top.model import PolicyRow

HEADER: Final = "bold"
OUT: Final = "cyan"
IN: Final = "green"
DOWN: Final = "bold red"
LEAST_NAME, MOST_NAME = 10, 20
NUMBERS: Final = 1 + 5 + 1 + 6 + 1 + 5
"""Columns of flows, round trip and loss."""
RATE: Final = 2 + 7
GAPS: Final = 2
"""Before each sparkline one."""


def shown_policies(rows: Sequence[PolicyRow]) -> list[PolicyRow]:
    """But for those of the built-in ones that were not used; these come last."""
    found = [
        row
        for row in rows
        if row.policy["interface"] is not None
        or not row.is_up
        or row.policy["packets_out"]
        or row.policy["packets_in"]
        or row.flows
    ]
    return sorted(found, key=lambda row: row.policy["interface"] is None)


def policy_lines(rows: Sequence[PolicyRow], height: int, width: int) -> list[Text]:
    """A header, and `height` lines at most, in the order of the rows."""
    shown = rows if len(rows) <= height else _most_important(rows, height)
    heading = "policy" if len(shown) == len(rows) else f"policy {len(shown)}/{len(rows)}"
    longest = max([LEAST_NAME, *(cell_len(row.name) for row in rows)])
    name = max(len(heading), min(MOST_NAME, longest))
    graph = max(0, width - name - NUMBERS - 2 * RATE - GAPS) // 2
    numbers = f" {'flows':>5} {'rtt ms':>6} {'loss':>5}"
    rates = f"{'out B/s':>{RATE}}{'':{1 + graph}}{'in B/s':>{RATE}}"
    header = line((f"{cell(heading, name)}{numbers}{rates}", HEADER), width=width)
    return [header, *(_line(row, name, graph, width) for row in shown)]


def _most_important(rows: Sequence[PolicyRow], height: int) -> list[PolicyRow]:
    """What is down, by half of the lines at most, then the busiest."""
    down = [row for row in rows if not row.is_up]
    half = len(down[: max(1, height // 2)])
    up = (row for row in rows if row.is_up)
    used = sorted(up, key=lambda row: (row.rates.both, row.policy["bytes_out"]), reverse=True)
    names = {row.name for row in [*down[:half], *used, *down[half:]][:height]}
    return [row for row in rows if row.name in names]


def _line(row: PolicyRow, name: int, graph: int, width: int) -> Text:
    head = (cell(row.name, name), "" if row.is_up else DOWN)
    if not row.is_up:
        why = row.policy.get("why_down") or "its interface is missing"
        said = f"  down: {why}; {row.policy['applies']} applies"
        return line(head, (cell(said, width - name), DOWN), width=width)
    numbers = (
        f" {cell(quantity(row.flows), 5, RIGHT)} "
        f"{cell(milliseconds(row.round_trip), 6, RIGHT)} {cell(percent(row.loss), 5, RIGHT)}"
    )
    return line(
        head,
        (numbers, ""),
        (cell(rate(row.rates.out), RATE, RIGHT), ""),
        (" " + sparkline([each.out for each in row.history], graph), OUT),
        (cell(rate(row.rates.in_), RATE, RIGHT), ""),
        (" " + sparkline([each.in_ for each in row.history], graph), IN),
        width=width,
    )


def rate(value: float | None) -> str:
    """Bytes or packets a second, in five characters; `-` where that is not known."""
    if value is None:
        return "-"
    unit = 0
    while value >= 999.5 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.{1 if unit and value < 99.95 else 0}f}{UNITS[unit]}"


def milliseconds(value: float | None) -> str:
    """`-` where it is not known."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def percent(share: float | None) -> str:
    """Of 1: `0%`, `<0.1%`, `0.4%`, `12%`; `-` where it is not known."""
    if share is None:
        return "-"
    hundredths = share * 100
    if 0 < hundredths < 0.05:
        return "<0.1%"
    return f"{hundredths:.1f}%" if 0 < hundredths < 9.95 else f"{hundredths:.0f}%"
