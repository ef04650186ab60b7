"""The rules that are hit, and beside them the drops by reason."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

from rich.text import Text

from router.cli.status_text import quantity
from router.cli.top.cells import RIGHT, cell, heading_in, line
from router.cli.top.model import DropRow, RuleRow, View
from router.cli.top.policy_lines import HEADER, rate

GAP: Final = 2
REASON: Final = 14
PER_SECOND: Final = 6
PACKETS: Final = 7
DROPS: Final = REASON + 1 + PER_SECOND + 1 + PACKETS
"""Columns of the drops."""
LEAST_RULES: Final = 30
POLICY: Final = 8


def usage_lines(view: View, height: int, width: int) -> list[Text]:
    """A line with headings, a header, and `height` lines."""
    rules_width = max(LEAST_RULES, width - DROPS - GAP)
    rules = busiest(view.rules)
    hit = sum(1 for row in rules if row.number)
    left = heading_in(f"rules: {hit} of {len(view.status['rules'])} hit", rules_width)
    right = heading_in(f"drops: {_total(view.drops)}", DROPS + GAP)
    lines = [
        line(*left, *right, width=width),
        line((f"{_rule_header(rules_width)}{'':{GAP}}{_drop_header()}", HEADER), width=width),
    ]
    for rule, drop in list(zip_longest(rules[:height], view.drops[:height])):
        shown = ("", "") if rule is None else (_rule(rule, rules_width), _style(rule))
        dropped = ("", "") if drop is None else (_drop(drop), _style(drop))
        lines.append(
            line((cell(shown[0], rules_width), shown[1]), (" " * GAP, ""), dropped, width=width)
        )
    return lines + [Text("")] * (height + 2 - len(lines))


def busiest(rules: Sequence[RuleRow]) -> list[RuleRow]:
    """Those that are hit now first, then those that were hit most."""
    return sorted(rules, key=lambda row: (-row.per_second, -row.packets, row.number))


def _style(row: RuleRow | DropRow) -> str:
    return "" if row.per_second > 0 else "dim"


def _total(drops: Sequence[DropRow]) -> str:
    return quantity(sum(row.packets for row in drops))


def _rule_header(width: int) -> str:
    numbers = f"{'pkt/s':>{PER_SECOND}} {'packets':>{PACKETS}}"
    return cell(f"{'rule':>4} {'policy':{POLICY}} {numbers}", width)


def _drop_header() -> str:
    return f"{'reason':{REASON}} {'pkt/s':>{PER_SECOND}} {'packets':>{PACKETS}}"


def _rule(row: RuleRow, width: int) -> str:
    number = str(row.number) if row.number else "-"
    numbers = f"{rate(row.per_second):>{PER_SECOND}} {quantity(row.packets):>{PACKETS}}"
    head = f"{number:>4} {cell(row.policy, POLICY)} {numbers}  "
    return head + cell(_condition(row), max(0, width - len(head)))


def _condition(row: RuleRow) -> str:
    """A rule as it is written in one line, without its braces and its policy."""
    if not row.text.startswith("{"):
        return row.text
    return row.text[1:].removesuffix("}").removesuffix(f", policy: {row.policy}")


def _drop(row: DropRow) -> str:
    per_second, packets = rate(row.per_second), quantity(row.packets)
    numbers = f"{cell(per_second, PER_SECOND, RIGHT)} {cell(packets, PACKETS, RIGHT)}"
    return f"{cell(row.reason, REASON)} {numbers}"
