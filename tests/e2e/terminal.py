"""A program in a terminal: a pseudo-terminal (pexpect) whose screen pyte draws.

Always true: the screen is what a user would see at that moment; the program is ended by close().
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from typing import Final

import pexpect
import pyte

from tests.e2e.wait import BOUND_S, wait_until

UP, DOWN, ESCAPE, ENTER = "\x1b[A", "\x1b[B", "\x1b", "\r"
TERM: Final = "xterm-256color"
PIECE: Final = 1 << 16


class Terminal:
    """columns, lines: its size. env: besides that of the test."""

    def __init__(
        self, argv: list[str], columns: int, lines: int, env: Mapping[str, str] | None = None
    ) -> None:
        self.written = ""
        """Everything that the program has written, as text."""
        self._screen = pyte.Screen(columns, lines)
        self._stream = pyte.Stream(self._screen)
        environment = {"TERM": TERM, **(env or {})}
        self._child = pexpect.spawn(
            argv[0],
            argv[1:],
            dimensions=(lines, columns),
            env={**os.environ, **environment},
            encoding="utf-8",
            codec_errors="replace",
        )

    @property
    def lines(self) -> list[str]:
        """Of the screen, without spaces at their ends."""
        self._read()
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def reversed_line(self) -> str:
        """The first line in reversed video below the title."""
        self._read()
        for number, line in enumerate(self._screen.display[1:-1], start=1):
            if self._screen.buffer[number][0].reverse:
                return line.rstrip()
        return ""

    @property
    def pid(self) -> int:
        assert self._child.pid is not None
        return self._child.pid

    def press(self, keys: str) -> None:
        self._child.send(keys)

    def resize(self, columns: int, lines: int) -> None:
        self._read()
        self._screen.resize(lines, columns)
        self._child.setwinsize(lines, columns)

    def wait_for(self, holds: Callable[[str], object], what: str) -> str:
        """Waits until the screen's text is such; the text."""
        wait_until(lambda: holds(self.text), what, detail=lambda: self.text)
        return self.text

    def end(self, by: signal.Signals | None = None) -> int | None:
        """Waits for its end, after a signal if one is given; its exit status."""
        if by is not None:
            os.kill(self.pid, by)
        wait_until(self._has_ended, "the program to end", timeout=BOUND_S, detail=lambda: self.text)
        return self._child.exitstatus

    def close(self) -> None:
        self._child.close(force=True)

    def _has_ended(self) -> bool:
        self._read()
        return not self._child.isalive()

    def _read(self) -> None:
        try:
            while True:
                piece = self._child.read_nonblocking(PIECE, timeout=0)
                self.written += piece
                self._stream.feed(piece)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return
