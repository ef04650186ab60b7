"""The screen as lines of text.

      1  the router, and what is wrong
         policies: rates with sparklines, round trip, loss
         flows, the largest first, with the cursor
         rules that are hit, beside them drops
     24  the keys

Always true: there are as many lines as the screen has, none wider; what matters shows without
colours too, by words, bold and reversed video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.text import Text

from router.cli.status_text import duration
from router.cli.top.cells import ELLIPSIS, cell, heading_in, line
from router.cli.top.cursor import Cursor
from router.cli.top.flow_lines import flow_lines
from router.cli.top.model import FlowRow, View
from router.cli.top.policy_lines import policy_lines, shown_policies
from router.cli.top.usage_lines import usage_lines
from router.config.text import harmless

TITLE: Final = "bold reverse"
KEYS: Final = (
    ("s", "sort"),
    ("/", "filter"),
    ("p", "pause"),
    ("e", "explain"),
    ("q", "quit"),
)
FILTERS: Final = "tcp 198.51. policy:NAME rule:N port:N host:ADDRESS path:direct"
"""Examples of its words."""
LEAST_FOR_USAGE: Final = 18
"""Lines of a screen from which on rules and drops are shown."""
LEAST_USAGE: Final = 3
LEAST_POLICIES: Final = 4
MOST_FLOWS_FIRST: Final = 8
"""Lines that flows have before there are more than LEAST_POLICIES."""
FIXED: Final = 1 + 1 + 2 + 1
"""Lines besides: title, header of the policies, both headers of the flows, keys."""


class Display(NamedTuple):
    """What the user has chosen, and what is wrong with the router. rows: the flows, in order."""

    rows: Sequence[FlowRow]
    cursor: Cursor
    order: str
    filter: str
    is_typing: bool
    is_paused: bool
    trouble: str | None


class Heights(NamedTuple):
    """Lines of each part, headers apart."""

    policies: int
    flows: int
    usage: int


def heights(height: int, policies: int) -> Heights:
    """For a screen of `height` lines."""
    usage = max(LEAST_USAGE, height // 7) if height >= LEAST_FOR_USAGE else 0
    rest = height - FIXED - (2 + usage if usage else 0)
    shown = min(policies, max(LEAST_POLICIES, rest - MOST_FLOWS_FIRST), max(1, rest - 2))
    return Heights(shown, max(0, rest - shown), usage)


def screen(view: View, display: Display, width: int, height: int) -> list[Text]:
    """All lines."""
    policies = shown_policies(view.policies)
    parts = heights(height, len(policies))
    lines = [_title(view, display, width)]
    lines += policy_lines(policies, parts.policies, width)
    lines.append(section(_flows_heading(view, display), width))
    display.cursor.settle(display.rows, parts.flows)
    flows = flow_lines(display.rows, display.cursor, display.order, parts.flows, width)
    lines += flows + [Text("")] * (parts.flows + 1 - len(flows))
    if parts.usage:
        lines += usage_lines(view, parts.usage, width)
    lines = lines[: height - 1]
    lines += [Text("")] * (height - 1 - len(lines))
    last = typing(display.filter, width) if display.is_typing else keys(width)
    return [*lines, last][:height]


def section(heading: str, width: int) -> Text:
    """A line with a heading in it."""
    return line(*heading_in(heading, width), width=width)


def keys(width: int) -> Text:
    parts = [part for key, what in KEYS for part in ((f" {key} ", "reverse"), (f" {what}  ", ""))]
    return line(*parts, (" ↑ ↓ ", "reverse"), (" choose", ""), width=width)


def typing(text: str, width: int) -> Text:
    """The last line while a filter is typed: its end, where it is long."""
    shown = text if len(text) < width // 2 else ELLIPSIS + text[1 - width // 2 :]
    help_text = f"  {FILTERS}" if not text else "  enter: keep   esc: clear"
    return line(
        (" filter: ", "bold"),
        (harmless(shown), ""),
        (" ", "reverse"),
        (help_text, "dim"),
        width=width,
    )


def _title(view: View, display: Display, width: int) -> Text:
    """What is wrong has the place of what holds no longer, and of the file's name."""
    status = view.status
    up = "" if display.trouble is not None else f"  up {duration(status['uptime_s'])}"
    head = f" tunrouter {status['tun']}{up}  pid {status['pid']}"
    if view.former_pid is not None:
        head += f" (was {view.former_pid})"
    if display.is_paused:
        head += "  PAUSED"
    if display.trouble is not None:
        said = f"  NO ANSWER: {display.trouble}"
        return line((cell(f"{head}{said} ", width), f"{TITLE} red"), width=width)
    rest = max(0, width - len(head) - 3)
    file = str(status["rules_file"])
    file = file if len(file) <= rest else (ELLIPSIS + file[len(file) - rest + 1 :] if rest else "")
    return line((cell(f"{head}  {cell(file, rest, 'right')} ", width), TITLE), width=width)


def _flows_heading(view: View, display: Display) -> str:
    total = len(view.flows)
    number = f"{len(display.rows)} of {total}" if display.filter else str(total)
    heading = f"flows: {number}, by {display.order}"
    if display.filter:
        heading += f", with {display.filter!r}"
    if view.unread:
        heading += f"; not listed: {', '.join(view.unread)}"
    return heading
