"""What only people at a terminal get: problems in colours and a progress bar.

Always true: what goes to a file or a pipe is plain, and the same every time.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO

from router.config.loader import Progress
from router.platform.colours import has_colours, styled

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

SEVERITY: Final = re.compile(r"(?:(?<=: )|^)(error|warning)(\[[a-z0-9-]+\])(?=: )")
CARETS: Final = re.compile(r"^([ \t]*)(\^+)$", re.MULTILINE)
HELP: Final = re.compile(r"^help:", re.MULTILINE)

LARGE: Final = 4_000_000
"""Bytes of lists from which on reading them takes so long that one wonders."""


def paint(text: str, stream: TextIO) -> str:
    """A problem in colours, where the stream is a terminal that may have them."""
    if not has_colours(stream):
        return text
    header, newline, rest = text.partition("\n")
    header = SEVERITY.sub(lambda found: styled(found[1], found[0]), header, count=1)
    rest = CARETS.sub(lambda found: found[1] + styled("carets", found[2]), rest)
    rest = HELP.sub(lambda found: styled("help", found[0]), rest)
    return header + newline + rest


@contextmanager
def progress_bar(what: str) -> Iterator[Progress | None]:
    """A function that draws progress on standard error; None where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    bar = _Bar(what)
    try:
        yield bar.update
    finally:
        bar.close()


class _Bar:
    """Drawn by rich, which is imported only once there is something large to draw."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._rich: RichProgress | None = None
        self._task: TaskID | None = None

    def update(self, done: int, total: int) -> None:
        if total < LARGE:
            return
        from rich.console import Console  # noqa: PLC0415 - takes 0.1 s, and is seldom needed
        from rich.progress import Progress as RichProgress  # noqa: PLC0415

        if self._rich is None:
            self._rich = RichProgress(console=Console(stderr=True), transient=True)
            self._task = self._rich.add_task(self._what, total=total)
            self._rich.start()
        if self._task is not None:
            self._rich.update(self._task, completed=done)

    def close(self) -> None:
        if self._rich is not None:
            self._rich.stop()
