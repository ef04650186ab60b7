"""Text in cells of a terminal: cut to a width, filled up, without control characters.

Always true: what `cell` returns takes exactly the width it was given, whatever the text is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from router.config.text import harmless

ELLIPSIS: Final = "…"
BLOCKS: Final = "▁▂▃▄▅▆▇█"
LEFT, RIGHT = "left", "right"


def cell(text: str, width: int, align: str = LEFT) -> str:
    """Cut where it is too long, and filled with spaces."""
    text = harmless(text)
    if cell_len(text) > width:
        text = set_cell_size(text, width - 1) + ELLIPSIS if width > 1 else text
    if align == RIGHT:
        text = " " * (width - cell_len(text)) + text
    return set_cell_size(text, max(0, width))


def address(text: str, width: int) -> str:
    """Cut in the middle: what tells two hosts of a network from each other is at the end."""
    if len(text) <= width:
        return text
    kept = max(0, width - 1)
    return text[: kept // 2] + ELLIPSIS + text[len(text) - (kept - kept // 2) :]


def end(host: str, number: int, width: int, *, is_port: bool) -> str:
    """Address and port, or identifier; the address is cut, never the number."""
    number_text = f":{number}" if is_port else f" id {number}"
    brackets = is_port and ":" in host
    shown = address(host, width - len(number_text) - 2 * brackets)
    return (f"[{shown}]" if brackets else shown) + number_text


def sparkline(values: Sequence[float | None], width: int) -> str:
    """The last values, the newest at the right, each by a block as high as its share of the largest
    one shown. Nothing, and what is not known, is a space; what is more has a block."""
    shown = list(values)[-width:] if width > 0 else []
    most = max((value or 0.0 for value in shown), default=0.0)
    blocks = (
        BLOCKS[min(len(BLOCKS) - 1, int(value / most * len(BLOCKS)))] if value else " "
        for value in shown
    )
    return "".join(blocks).rjust(max(0, width))


def line(*parts: tuple[str, str], width: int) -> Text:
    """Texts with their styles, one behind the other, cut at a width."""
    made = Text(no_wrap=True, end="")
    for text, style in parts:
        made.append(text, style)
    made.truncate(width)
    return made


def heading_in(text: str, width: int) -> tuple[tuple[str, str], ...]:
    """The parts of a line with a heading in it."""
    head = cell(text, max(0, width - 4)).rstrip()
    rest = max(0, width - 3 - cell_len(head))
    return ("─ ", "dim"), (head, "bold"), (" " + "─" * rest, "dim")
