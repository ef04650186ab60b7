"""The terminal and the keys, by textual: everything is drawn by `drawing`, line by line.

Always true: without colours not one colour is written; the terminal is left as it was, also after
SIGTERM and SIGHUP.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from typing import ClassVar, Final

from rich.segment import Segment
from rich.text import Text
from textual import events
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.color import Color
from textual.filter import LineFilter
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input

from router.cli.top import drawing
from router.cli.top.choice import ORDERS, chosen, following
from router.cli.top.cursor import Cursor
from router.cli.top.explanation import Explanation
from router.cli.top.model import FlowRow, Model, Snapshot, View
from router.cli.top.source import Reading

FOREIGN: Final = "the router answered something else: is it of another version?"
HELP: Final = "words to look for, or policy:NAME rule:N port:N host:ADDRESS path:direct"


class NoColours(LineFilter):
    """Leaves bold, dim and reversed video."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        return [
            Segment(text, None if style is None else style.without_color, control)
            for text, style, control in segments
        ]


class Board(Widget, can_focus=True):
    """Everything but what is being typed."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: Sequence[Text] = ()

    def show(self, lines: Sequence[Text]) -> None:
        self._lines = lines
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """See textual.widget.Widget."""
        if y >= len(self._lines):
            return Strip.blank(self.size.width, self.rich_style)
        strip = Strip(list(self._lines[y].render(self.app.console)))
        return strip.apply_style(self.rich_style).adjust_cell_length(
            self.size.width, self.rich_style
        )


class Top(App[None]):
    """first: what is shown at the beginning."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Board { width: 100%; height: 100%; }
    Input { display: none; dock: bottom; height: 1; border: none; padding: 0; }
    Input:focus { border: none; }
    Input.shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("ctrl+c", "quit", "quit", priority=True),
        Binding("s", "sort", "sort"),
        Binding("slash,f", "filter", "filter"),
        Binding("p,space", "pause", "pause"),
        Binding("e,enter", "explain", "explain"),
        Binding("escape", "clear", "clear the filter"),
        Binding("up,k", "move(-1)", "up"),
        Binding("down,j", "move(1)", "down"),
        Binding("pageup", "page(-1)", "a page up"),
        Binding("pagedown", "page(1)", "a page down"),
        Binding("home,g", "move(-1000000)", "the first"),
        Binding("end,G", "move(1000000)", "the last"),
    ]

    def __init__(self, model: Model, first: Snapshot, *, colours: bool) -> None:
        super().__init__()
        self._model = model
        self._latest = self._shown = model.take(first)
        self._cursor = Cursor()
        self._order = ORDERS[0]
        self._filter = ""
        self._is_paused = False
        self._trouble: str | None = None
        self._without_colours = () if colours else (NoColours(),)
        self._board = Board()

    def compose(self) -> ComposeResult:
        yield self._board
        yield Input(
            placeholder="policy:NAME rule:N port:N host:ADDRESS tcp …", select_on_focus=False
        )

    def get_line_filters(self) -> Sequence[LineFilter]:
        """See textual.app.App."""
        return [*super().get_line_filters(), *self._without_colours]

    def on_mount(self) -> None:
        self._board.focus()
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self.exit)

    def on_resize(self, _event: events.Resize) -> None:
        self.call_after_refresh(self._draw)

    def take(self, reading: Reading) -> None:
        """Show a further snapshot, or why there is none."""
        if isinstance(reading, str):
            self._trouble = reading
        else:
            try:
                self._latest = self._model.take(reading)
                self._trouble = None
            except (LookupError, TypeError, ValueError, AttributeError):
                self._trouble = FOREIGN
        if not self._is_paused:
            self._shown = self._latest
        self._draw()

    @property
    def rows(self) -> list[FlowRow]:
        """The flows that are listed."""
        return chosen(self._shown.flows, self._filter, self._order)

    @property
    def view(self) -> View:
        """What is on the screen."""
        return self._shown

    def _draw(self) -> None:
        display = drawing.Display(
            self.rows, self._cursor, self._order, self._filter, self._is_paused, self._trouble
        )
        width, height = self.size
        self._board.show(drawing.screen(self._shown, display, width, height))

    def action_sort(self) -> None:
        self._order = following(self._order)
        self._draw()

    def action_pause(self) -> None:
        self._is_paused = not self._is_paused
        if not self._is_paused:
            self._shown = self._latest
        self._draw()

    def action_move(self, by: int) -> None:
        self._cursor.move(self.rows, by)
        self._draw()

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self.size.height // 3))

    def action_filter(self) -> None:
        field = self.query_one(Input)
        field.add_class("shown")
        field.value = self._filter
        field.focus()

    def action_clear(self) -> None:
        """Of the filter, and the end of typing one."""
        self._filter = ""
        self._end_typing()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._filter = event.value
        self._draw()

    def on_input_submitted(self, _event: Input.Submitted) -> None:
        self._end_typing()

    def _end_typing(self) -> None:
        self.query_one(Input).remove_class("shown")
        self._board.focus()
        self._draw()

    def action_explain(self) -> None:
        row = self._cursor.row(self.rows)
        if row is not None:
            self.push_screen(Explanation(row, self._shown))
