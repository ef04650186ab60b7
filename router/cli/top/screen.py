"""The terminal and the keys, by textual: everything is drawn by `drawing`, line by line.

Always true: without colours not one colour is written; the terminal is left as it was, also after
SIGTERM and SIGHUP.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial
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

from router.cli.top import drawing
from router.cli.top.choice import ORDERS, chosen, following
from router.cli.top.cursor import Cursor
from router.cli.top.explanation import Explanation
from router.cli.top.model import FlowRow, Model, Snapshot, View
from router.cli.top.source import Reading, Take

FAR: Final = 1_000_000
"""Rows: more than there are."""
FOREIGN: Final = "the router answered something else: is it of another version?"


class NoColours(LineFilter):
    """Leaves bold, dim and reversed video."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        return [
            Segment(text, None if style is None else style.without_color, control)
            for text, style, control in segments
        ]


class Board(Widget, can_focus=True):
    """The whole screen."""

    def __init__(self, take_key: Callable[[events.Key], bool]) -> None:
        """take_key: whether it takes a key, which is then bound to nothing else."""
        super().__init__()
        self._take_key = take_key
        self._lines: Sequence[Text] = ()

    def on_key(self, event: events.Key) -> None:
        if self._take_key(event):
            event.stop()
            event.prevent_default()

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
    """first: what is shown at the beginning. start: called when readings can be taken, with what
    takes them from another thread; that raises RuntimeError when the screen is gone."""

    ENABLE_COMMAND_PALETTE = False
    CSS = """
    Board { width: 100%; height: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+c", "quit", "quit", priority=True)]

    def __init__(
        self, model: Model, first: Snapshot, start: Callable[[Take], None], *, colours: bool
    ) -> None:
        super().__init__()
        self._start = start
        self._model = model
        self._latest = self._shown = model.take(first)
        self._cursor = Cursor()
        self._order = ORDERS[0]
        self._filter = ""
        self._is_typing = False
        self._is_paused = False
        self._trouble: str | None = None
        self._without_colours = () if colours else (NoColours(),)
        self._board = Board(self._take_key)

    def compose(self) -> ComposeResult:
        yield self._board

    def get_line_filters(self) -> Sequence[LineFilter]:
        """See textual.app.App."""
        return [*super().get_line_filters(), *self._without_colours]

    def on_mount(self) -> None:
        self._board.focus()
        for number in (signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self.exit)
        self._start(partial(self.call_from_thread, self.take))

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
            self.rows,
            self._cursor,
            self._order,
            self._filter,
            self._is_typing,
            self._is_paused,
            self._trouble,
        )
        width, height = self.size
        self._board.show(drawing.screen(self._shown, display, width, height))

    def sort(self) -> None:
        self._order = following(self._order)
        self._draw()

    def pause(self) -> None:
        self._is_paused = not self._is_paused
        if not self._is_paused:
            self._shown = self._latest
        self._draw()

    def move(self, by: int) -> None:
        self._cursor.move(self.rows, by)
        self._draw()

    def move_pages(self, pages: int) -> None:
        self.move(pages * max(1, self.size.height // 3))

    def begin_filter(self) -> None:
        self._is_typing = True
        self._draw()

    def clear(self) -> None:
        self._filter = ""
        self._draw()

    def _take_key(self, event: events.Key) -> bool:
        """Whether a key was one for this screen. At once, and not by textual's bindings, which act
        after the next keys have come."""
        if self._is_typing:
            return self._type(event)
        command = KEYS.get(event.key)
        if command is not None:
            command(self)
        return command is not None

    def _type(self, event: events.Key) -> bool:
        """Whether a key was one of the filter that is being typed."""
        if event.key in ("enter", "escape"):
            self._is_typing = False
            self._filter = self._filter if event.key == "enter" else ""
        elif event.key in ("backspace", "ctrl+h"):
            self._filter = self._filter[:-1]
        elif event.key == "ctrl+u":
            self._filter = ""
        elif event.character is not None and event.is_printable:
            self._filter += event.character
        else:
            return False
        self._draw()
        return True

    def explain(self) -> None:
        row = self._cursor.row(self.rows)
        if row is not None:
            self.push_screen(Explanation(row, self._shown))


KEYS: Final[Mapping[str, Callable[[Top], None]]] = {
    "q": Top.exit,
    "s": Top.sort,
    "slash": Top.begin_filter,
    "p": Top.pause,
    "space": Top.pause,
    "e": Top.explain,
    "enter": Top.explain,
    "escape": Top.clear,
    "up": lambda top: top.move(-1),
    "k": lambda top: top.move(-1),
    "down": lambda top: top.move(1),
    "j": lambda top: top.move(1),
    "pageup": lambda top: top.move_pages(-1),
    "pagedown": lambda top: top.move_pages(1),
    "home": lambda top: top.move(-FAR),
    "end": lambda top: top.move(FAR),
}
