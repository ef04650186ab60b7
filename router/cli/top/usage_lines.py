"""The rules that are hit, and beside them the drops by reason."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from router.cli.status_text import quantity
from router.cli.top.cells import RIGHT, cell, heading_in, line
from router.cli.top.model import DropRow, RuleRow, View
from router.cli.top.policy_lines import HEADER, rate
from router.config.text import harmless

GAP: Final = 2
REASON: Final = 16
"""The longest of `router.flows.drops`."""
PER_SECOND: Final = 6
PACKETS: Final = 7
DROPS: Final = REASON + 1 + PER_SECOND + 1 + PACKETS
"""Columns of the drops."""
LEAST_RULES: Final = 30
POLICY, MOST_POLICY = 8, 20
"""Columns of the names of policies, and where there is room for them."""
LEAST_CONDITION: Final = 30
"""Columns that it has before those of the policies become more."""


def usage_lines(view: View, height: int, width: int) -> list[Text]:
    """A line with headings, a header, and `height` lines."""
    rules_width = max(LEAST_RULES, width - DROPS - GAP)
    rules = busiest(view.rules)
    name = _policy_width(rules[:height], rules_width)
    hit = sum(1 for row in rules if row.number)
    left = heading_in(f"rules: {hit} of {len(view.status['rules'])} hit", rules_width)
    right = heading_in(f"drops: {_total(view.drops)}", DROPS + GAP)
    lines = [
        line(*left, *right, width=width),
        line((f"{_rule_header(name, rules_width)}{'':{GAP}}{_drop_header()}", HEADER), width=width),
    ]
    for rule, drop in list(zip_longest(rules[:height], view.drops[:height])):
        shown = ("", "") if rule is None else (_rule(rule, name, rules_width), _style(rule))
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


def _policy_width(rows: Sequence[RuleRow], width: int) -> int:
    """As wide as the names, within bounds."""
    room = width - LEAST_CONDITION - len(f"{'':4} {_numbers('', '')}")
    longest = max([POLICY, *(cell_len(harmless(row.policy)) for row in rows)])
    return max(POLICY, min(longest, MOST_POLICY, room))


def _numbers(per_second: str, packets: str) -> str:
    return f" {per_second:>{PER_SECOND}} {packets:>{PACKETS}}  "


def _rule_header(name: int, width: int) -> str:
    return cell(f"{'rule':>4} {'policy':{name}}{_numbers('pkt/s', 'packets')}condition", width)


def _drop_header() -> str:
    return f"{'reason':{REASON}} {'pkt/s':>{PER_SECOND}} {'packets':>{PACKETS}}"


def _rule(row: RuleRow, name: int, width: int) -> str:
    number = str(row.number) if row.number else "-"
    numbers = _numbers(rate(row.per_second), quantity(row.packets))
    head = f"{number:>4} {cell(row.policy, name)}{numbers}"
    return head + cell(_condition(row), max(0, width - len(head)))


def _condition(row: RuleRow) -> str:
    """A rule as it is written in one line, without its braces, its policy, and `cidr`."""
    if not row.text.startswith("{"):
        return row.text
    text = row.text[1:].removesuffix("}").removesuffix(f", policy: {row.policy}")
    return text.removeprefix("cidr: ")


def _drop(row: DropRow) -> str:
    per_second, packets = rate(row.per_second), quantity(row.packets)
    numbers = f"{cell(per_second, PER_SECOND, RIGHT)} {cell(packets, PACKETS, RIGHT)}"
    return f"{cell(row.reason, REASON)} {numbers}"
