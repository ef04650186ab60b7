"""The flows, a line each: the ends as wide as there is room, more columns on a wide screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from router.cli.flows_text import WITH_PORTS, span
from router.cli.top.cells import LEFT, RIGHT, address, cell, end, line
from router.cli.top.choice import total_bytes
from router.cli.top.cursor import Cursor
from router.cli.top.model import FlowRow
from router.cli.top.policy_lines import HEADER, milliseconds, rate
from router.config.text import harmless

CURSOR: Final = "reverse"
ARROW: Final = " → "
LEAST_END: Final = 8
MOST_END: Final = 47
"""An IPv6 address, brackets and a port."""
USUAL_END: Final = 21
"""An IPv4 address and a port."""
NARROW_END: Final = 15
"""Below it columns of rank 0 are left out."""
MOST_POLICY: Final = 20
"""Columns of the names of policies, where there is room for them."""
MARK: Final = "▾"
"""Beside the header of what flows are sorted by."""


class Column(NamedTuple):
    """order: what sorts by it. rank: the last ones are left out first where there is no room."""

    header: str
    width: int
    align: str
    value: Callable[[FlowRow], str]
    rank: int
    order: str = ""


POLICY: Final = Column("policy", 10, LEFT, lambda row: row.flow["policy"], 0)
RULE: Final = Column("rule", 4, RIGHT, lambda row: str(row.flow["rule"] or "-"), 0)
IN: Final = Column("in/s", 6, RIGHT, lambda row: rate(row.rates.in_), 0, "rate")
ROUND_TRIP: Final = Column(
    "rtt ms", 6, RIGHT, lambda row: milliseconds(row.flow.get("rtt_ms")), 1, "rtt"
)
COLUMNS: Final = (
    POLICY,
    RULE,
    Column("out/s", 6, RIGHT, lambda row: rate(row.rates.out), 0, "rate"),
    IN,
    ROUND_TRIP,
    Column("state", 11, LEFT, lambda row: row.flow["state"], 2),
    Column("bytes", 6, RIGHT, lambda row: rate(total_bytes(row)), 3, "bytes"),
    Column("idle", 5, RIGHT, lambda row: span(row.flow["idle_s"]), 4, "idle"),
    Column("age", 5, RIGHT, lambda row: span(row.flow["age_s"]), 4, "age"),
    Column("path", 7, LEFT, lambda row: row.flow["path"], 5),
)
DISPENSABLE: Final = (ROUND_TRIP, RULE, IN, POLICY)
"""What is left out on a narrow screen, the first first."""
PROTOCOL: Final = 5


def flow_lines(
    rows: Sequence[FlowRow], cursor: Cursor, order: str, height: int, width: int
) -> list[Text]:
    """A header, and `height` lines at most."""
    shown = rows[cursor.first : cursor.first + height]
    columns = [_fitted(column, shown) for column in _columns(order, width)]
    spare = _room(columns, width) - sum(_wanted(shown))
    columns = [_widened(column, shown, spare) for column in columns]
    rest = _room(columns, width)
    source, destination = _ends(shown, max(2 * LEAST_END, rest))
    head = f"{'':{PROTOCOL}}{cell('source', source)}{' ' * len(ARROW)}"
    head += cell("destination", destination) + "".join(
        " " + cell(_header(column, order), column.width, column.align) for column in columns
    )
    lines = [line((head, HEADER), width=width)]
    for place, row in enumerate(shown, start=cursor.first):
        text = _ends_of(row, source, destination) + "".join(
            " " + cell(column.value(row), column.width, column.align) for column in columns
        )
        style = CURSOR if place == cursor.index else ""
        lines.append(line((cell(text, width), style), width=width))
    if not shown and height:
        lines.append(line(("none", "dim"), width=width))
    return lines


def _columns(order: str, width: int) -> list[Column]:
    """As many as leave room for usual ends; the one that flows are sorted by is always there, and
    takes the place of the round trip on a narrow screen."""
    chosen = [column for column in COLUMNS if column.rank == 0 or column.order == order]
    for rank in range(1, 1 + max(column.rank for column in COLUMNS)):
        more = [column for column in COLUMNS if column.rank == rank and column not in chosen]
        is_narrow_rtt = rank == 1 and not any(column.rank for column in chosen)
        if _room((*chosen, *more), width) < 2 * USUAL_END and not is_narrow_rtt:
            break
        chosen += more
    for column in DISPENSABLE:
        if _room(chosen, width) < 2 * NARROW_END and (column.order != order or column is IN):
            chosen = [each for each in chosen if each is not column]
    return [column for column in COLUMNS if column in chosen]


def _room(columns: Iterable[Column], width: int) -> int:
    """For both ends."""
    return width - PROTOCOL - len(ARROW) - sum(column.width + 1 for column in columns)


def _fitted(column: Column, rows: Sequence[FlowRow]) -> Column:
    """As wide as its values on the left, within bounds."""
    if column.align != LEFT:
        return column
    values = [len(column.value(row)) for row in rows]
    return column._replace(width=min(column.width, max([len(column.header), *values])))


def _widened(column: Column, rows: Sequence[FlowRow], spare: int) -> Column:
    """Names of policies are cut only where there is no room."""
    if column.header != POLICY.header:
        return column
    longest = max((cell_len(harmless(column.value(row))) for row in rows), default=0)
    wanted = min(longest, MOST_POLICY)
    return column._replace(width=max(column.width, min(wanted, column.width + spare)))


def _header(column: Column, order: str) -> str:
    """Without its unit where there is no room for the mark."""
    if column.order != order:
        return column.header if len(column.header) <= column.width else column.header.split()[0]
    head = column.header if len(column.header) < column.width else column.header.split()[0]
    return head + MARK


def _ends(rows: Sequence[FlowRow], room: int) -> tuple[int, int]:
    """Columns for source and destination: what both need, or what there is."""
    source, destination = _wanted(rows)
    if source + destination <= room:
        return source, room - source
    return (source, room - source) if source <= room // 2 else _halves(destination, room)


def _wanted(rows: Sequence[FlowRow]) -> tuple[int, int]:
    """Columns that show source and destination as they are."""
    source = max([LEAST_END, *(len(_end(row, "source", MOST_END)) for row in rows)])
    return source, max([11, *(len(_destination(row, MOST_END)) for row in rows)])


def _halves(destination: int, room: int) -> tuple[int, int]:
    right = min(destination, room - room // 2)
    return room - right, right


def _end(row: FlowRow, which: str, width: int) -> str:
    flow = row.flow
    is_port = flow["protocol"] in WITH_PORTS
    return end(flow[which], flow[f"{which}_port"], width, is_port=is_port)


def _ends_of(row: FlowRow, source: int, destination: int) -> str:
    protocol = cell(row.flow["protocol"], PROTOCOL - 1) + " "
    left = cell(_end(row, "source", source), source)
    return protocol + left + ARROW + cell(_destination(row, destination), destination)


def _destination(row: FlowRow, width: int) -> str:
    """Of a query its identifier is the source's."""
    if row.flow["protocol"] in WITH_PORTS:
        return _end(row, "destination", width)
    return address(row.flow["destination"], width)
