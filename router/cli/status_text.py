"""The answer to `status` as tables.

Always true: in a pipe or a file no line is truncated; at a terminal the tables fit its width, and
the JSON has the truncated values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TextIO

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

RULES_SHOWN: Final = 20
"""Where there are more, the busiest are shown."""
NO_END: Final = 10_000
"""Columns of an output that has none."""
GAP: Final = 2
"""Columns of a terminal between two of a table."""
LEAST: Final = 8
POLICY_NAME: Final = 0
RULE_TEXT: Final = -1
"""Which column of a table is cut where there is no room."""
EXACT: Final = 100_000
"""Below that, quantities are shown digit by digit."""
UNITS: Final = ("", "k", "M", "G", "T", "P")
SPANS: Final = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))

Answer = Mapping[str, Any]


def print_status(answer: Answer, stream: TextIO) -> None:
    """Print it to a stream, which need not be a terminal."""
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else NO_END)
    with console.capture() as captured:
        _print(answer, console)
    for line in captured.get().splitlines():
        print(line.rstrip(), file=stream)


def _print(answer: Answer, console: Console) -> None:
    for line in _head(answer):
        console.print(Text(line), soft_wrap=True)
    console.print()
    console.print(fitted(_policies(answer["policies"]), console.width, POLICY_NAME))
    for line in [*_why_down(answer["policies"]), *_found(answer["policies"])]:
        console.print(Text(line), soft_wrap=True)
    console.print()
    rules = answer["rules"]
    shown = rules if len(rules) <= RULES_SHOWN else busiest(rules)
    console.print(fitted(_rules(shown, answer["default"]), console.width, RULE_TEXT))
    if len(shown) < len(rules):
        console.print(f"{len(shown)} of {len(rules):,} rules, the busiest; --json has all")


def _head(answer: Answer) -> list[str]:
    return [
        f"pid {answer['pid']}, TUN {answer['tun']}, up {duration(answer['uptime_s'])}",
        f"rules  {answer['rules_file']}",
        f"flows  {_pairs(answer['flows'])}",
        f"drops  {_pairs(answer['drops']) or 'none'}",
    ]


def _why_down(policies: Mapping[str, Answer]) -> list[str]:
    down = [(name, each["why_down"]) for name, each in policies.items() if each["why_down"]]
    return [f"{name} is down: {why}" for name, why in down]


def _found(policies: Mapping[str, Answer]) -> list[str]:
    return [
        f"{name}: the proxy {policy['server']} {clause}"
        for name, policy in policies.items()
        for clause in policy["found"]
    ]


def _policies(policies: Mapping[str, Answer]) -> Table:
    table = _table(
        *("policy", "state", "interface"),
        numbers=("flows", "packets\nout", "bytes\nout", "packets\nin", "bytes\nin"),
    )
    own_first = sorted(policies.items(), key=lambda named: named[1]["interface"] is None)
    for name, policy in own_first:
        state = Text(policy["state"], "green" if policy["state"] == "up" else "bold red")
        if policy["path"]:
            state.append(f" {policy['path']}", "default")
        if policy["applies"] != name:
            state.append(f": {policy['applies']}", "default")
        table.add_row(
            Text(name),
            state,
            Text(policy["interface"] or ""),
            quantity(policy["flows"]),
            quantity(policy["packets_out"]),
            quantity(policy["bytes_out"]),
            known_quantity(policy["packets_in"]),
            known_quantity(policy["bytes_in"]),
        )
    return table


def _rules(rules: Sequence[Answer], default: Answer) -> Table:
    table = _table(numbers=("rule", "line", "flows", "packets"))
    table.add_column("policy", no_wrap=True)
    table.add_column("", no_wrap=True, overflow="ellipsis", style="dim")
    for rule in rules:
        table.add_row(*map(str, (rule["index"], rule["line"])), *_usage(rule), Text(rule["text"]))
    line = default["line"] or ""
    table.add_row("", str(line), *_usage(default), "default")
    return table


def _usage(rule: Answer) -> tuple[str | Text, ...]:
    return quantity(rule["flows"]), quantity(rule["packets"]), Text(rule["policy"])


def _table(*words: str, numbers: Sequence[str]) -> Table:
    """Without lines; numbers end below each other."""
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for header in words:
        table.add_column(header, no_wrap=True, overflow="ellipsis", vertical="bottom")
    for header in numbers:
        table.add_column(header, no_wrap=True, justify="right", vertical="bottom")
    return table


def fitted(table: Table, width: int, elastic: int) -> Table:
    """Where a table is wider than that, one column is cut, and no number."""
    needed = [max(map(_width, (column.header, *column.cells))) for column in table.columns]
    rest = sum(needed) - needed[elastic] + GAP * (len(needed) - 1)
    table.columns[elastic].max_width = max(LEAST, width - rest)
    return table


def _width(cell: RenderableType) -> int:
    return max(map(cell_len, str(cell).split("\n")))


def busiest(rules: Sequence[Answer]) -> list[Answer]:
    """The RULES_SHOWN with the most packets, at least one, in the order of the file."""
    used = [rule for rule in rules if rule["packets"]]
    most = sorted(used, key=lambda rule: -rule["packets"])[:RULES_SHOWN]
    return sorted(most, key=lambda rule: rule["index"])


def duration(seconds: float) -> str:
    """In the two largest units that it has: `2 d 3 h`."""
    rest = int(seconds)
    parts: list[str] = []
    for unit, span in SPANS:
        number, rest = divmod(rest, span)
        if number or parts or unit == "s":
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def known_quantity(number: int | None) -> str:
    """See `quantity`; `-` for what is not known."""
    return "-" if number is None else quantity(number)


def quantity(number: int) -> str:
    """A count in five characters at most: `99999`, then `100k`, `1.2M`, `35G`."""
    if number < EXACT:
        return str(number)
    value, step = float(number), 0
    while value >= 999.5 and step < len(UNITS) - 1:
        value, step = value / 1000, step + 1
    return f"{value:.{1 if value < 9.95 else 0}f}{UNITS[step]}"


def _pairs(numbers: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {number:,}" for name, number in numbers.items())
