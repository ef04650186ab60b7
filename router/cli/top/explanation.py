"""The window that explains a flow: what is known of it, and what `tunrouter explain` says."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, STDOUT
from typing import ClassVar, Final

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from router.cli.top.explaining import command, facts
from router.cli.top.model import FlowRow, View
from router.config.text import harmless

LONGEST: Final = 20.0
"""Seconds that `tunrouter explain` may take."""
WIDTH: Final = 8
"""Columns for the names of facts."""
PROGRAM: Final = (sys.executable, "-P", "-m", "router.cli")
"""-P: a directory `router` where the user stands is not this one."""


class Explanation(ModalScreen[None]):
    """It does not change while it is open, but for the answer that it waits for."""

    CSS = """
    Explanation { align: center middle; }
    Explanation > VerticalScroll {
        width: 96%; max-width: 110; height: auto; max-height: 100%;
        border: round $foreground; padding: 0 1;
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,e,q,enter", "dismiss", "close"),
        Binding("ctrl+c", "app.quit", "quit", priority=True),
    ]

    def __init__(self, row: FlowRow, view: View) -> None:
        super().__init__()
        self._facts = list(facts(row, view))
        self._arguments = command(row.flow, str(view.status["rules_file"]))
        self._answer = Static()

    def compose(self) -> ComposeResult:
        with VerticalScroll() as window:
            window.border_title = "explain"
            window.border_subtitle = "e closes"
            yield Static(_table(self._facts))
            yield Static(Text(f"\n$ tunrouter {harmless(' '.join(self._arguments))}", "dim"))
            yield self._answer

    def on_mount(self) -> None:
        self._answer.update(Text("…"))
        self._ask()

    @work
    async def _ask(self) -> None:
        answer = await explained(*self._arguments)
        self._answer.update(Text("\n".join(map(harmless, answer.splitlines()))))


async def explained(*arguments: str) -> str:
    """What `tunrouter` prints, errors too."""
    process = await asyncio.create_subprocess_exec(
        *PROGRAM, *arguments, stdin=asyncio.subprocess.DEVNULL, stdout=PIPE, stderr=STDOUT
    )
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), LONGEST)
    except TimeoutError:
        return f"no answer within {LONGEST:g} s"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return printed.decode(errors="replace")


def _table(pairs: list[tuple[str, str]]) -> Text:
    table = Text()
    for name, value in pairs:
        table.append(f"{name:{WIDTH}}", "bold")
        table.append(f"{harmless(value)}\n")
    table.rstrip()
    return table
