"""Flows as a table: at a terminal each in three lines, which fit 80 columns; in a pipe, a file or a
wide terminal each in one.

Always true: in a pipe or a file nothing is truncated; at a terminal the ends of a flow are, where
there is no room, and the JSON has them whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from router.cli.status_text import GAP, NO_END, fitted, known_quantity

SHOWN: Final = 500
"""Where there are more, the first of the order are shown."""
WIDE: Final = 200
"""Columns from which on each flow has one line, at the least."""
UNITS: Final = (("d", 86400), ("h", 3600), ("m", 60))
ENDS: Final = 1
"""Which column is cut where there is no room."""
WITH_PORTS: Final = ("tcp", "udp")

Flow = Mapping[str, Any]


class Column(NamedTuple):
    """Values of a flow that stand below each other, with their headers."""

    headers: tuple[str, ...]
    is_number: bool = False


COLUMNS: Final = (
    Column(("flow", "rule", "path")),
    Column(("source", "destination", "outside")),
    Column(("policy", "interface", "state")),
    Column(("age", "idle", "rtt ms"), is_number=True),
    Column(("B out", "B in"), is_number=True),
    Column(("pkt out", "pkt in"), is_number=True),
)


def print_flows(found: Sequence[Flow], stream: TextIO) -> None:
    """Print them in their order to a stream, which need not be a terminal."""
    console = Console(file=stream, highlight=False, width=None if stream.isatty() else NO_END)
    shown = found[:SHOWN] if stream.isatty() else found
    with console.capture() as captured:
        if console.width >= WIDE:
            console.print(_one_line_each(shown))
        else:
            console.print(fitted(_three_lines_each(shown), console.width, ENDS))
        if len(shown) < len(found):
            console.print(f"{len(shown)} of {len(found):,} flows, the first; --json has all")
    for line in captured.get().splitlines():
        print(line.rstrip(), file=stream)


def _three_lines_each(flows: Sequence[Flow]) -> Table:
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in COLUMNS:
        _add(table, "\n".join(column.headers), column)
    for flow in flows:
        table.add_row(*(Text("\n".join(some)) for some in _values(flow)))
    return table


def _one_line_each(flows: Sequence[Flow]) -> Table:
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
    for column in COLUMNS:
        for header in column.headers:
            _add(table, header, column)
    for flow in flows:
        table.add_row(*(Text(value) for some in _values(flow) for value in some))
    return table


def _add(table: Table, header: str, column: Column) -> None:
    table.add_column(
        header,
        no_wrap=True,
        overflow="ellipsis",
        justify="right" if column.is_number else "left",
    )


def _values(flow: Flow) -> tuple[tuple[str, ...], ...]:
    """In the order of COLUMNS."""
    rule = "default" if flow["rule"] is None else str(flow["rule"])
    return (
        (flow["protocol"], rule, flow["path"]),
        (
            _end(flow["source"], flow["source_port"], flow["protocol"]),
            _end(flow["destination"], flow["destination_port"], flow["protocol"]),
            _end(flow["outside"], flow["outside_port"], flow["protocol"]),
        ),
        (flow["policy"], flow["interface"] or "-", flow["state"]),
        (span(flow["age_s"]), span(flow["idle_s"]), milliseconds(flow.get("rtt_ms"))),
        (known_quantity(flow["bytes_out"]), known_quantity(flow["bytes_in"])),
        (known_quantity(flow["packets_out"]), known_quantity(flow["packets_in"])),
    )


def _end(address: str | None, number: int, protocol: str) -> str:
    """Address and port, or the identifier; `-` where they are not known."""
    if address is None:
        return "-"
    if protocol not in WITH_PORTS:
        return f"{address} id {number}"
    return f"[{address}]:{number}" if ":" in address else f"{address}:{number}"


def span(seconds: float | None) -> str:
    """In the largest unit that it has: `3s`, `12m`, `2d`; `-` where it is not known."""
    if seconds is None:
        return "-"
    for unit, span in UNITS:
        if seconds >= span:
            return f"{int(seconds // span)}{unit}"
    return f"{int(seconds)}s"


def milliseconds(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
