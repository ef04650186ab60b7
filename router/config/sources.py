"""The text behind the places of problems: lines of the rules file and of list files.

Always true: the rules file is kept whole; of a list file, which may have a million lines, only
those lines are kept that have a problem, and others are read again when they are needed. Lines of a
rules file that may be part of a password are none of them.

Must not know: what the lines mean.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import islice

from router.config.opening import OpenFile, UntrustedError
from router.config.secret_lines import first_secret_line
from router.config.trust import NotRegularError

MAXIMUM_LINE = 65_536
"""Bytes of a list line that are ever looked at."""


OpenList = Callable[[], AbstractContextManager[OpenFile]]
"""Opens a list again, under the conditions under which it was opened first."""


class Sources:
    """Lines by file and number (from 1). Files are known by the name that places carry."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._split: dict[str, list[str]] = {}
        self._lines: dict[tuple[str, int], str] = {}
        self._lists: dict[str, OpenList] = {}

    def add_text(self, file: str, text: str) -> None:
        """Keep a whole file whose lines end in a newline and nothing else."""
        self._texts[file] = text

    def add_list(self, file: str, open_list: OpenList) -> None:
        """Make the lines of a list file available without reading it now."""
        self._lists[file] = open_list

    def remember(self, file: str, number: int, line: str) -> None:
        self._lines[file, number] = line

    def line(self, file: str, number: int) -> str | None:
        """The text of a line without its end; None where there is none (any more)."""
        if file in self._texts:
            lines = self._split.get(file)
            if lines is None:
                text = self._texts[file]
                secret = first_secret_line(text)
                shown = None if secret is None else secret - 1
                lines = self._split[file] = text.split("\n")[:shown]
            return lines[number - 1] if number <= len(lines) else None
        if (file, number) not in self._lines and file in self._lists:
            self._lines[file, number] = _read_line(self._lists[file], number)
        return self._lines.get((file, number))


def _read_line(open_list: OpenList, number: int) -> str:
    """One line of a list file, plain or compressed; empty when it can't be read."""
    try:
        with open_list() as opened:
            raw = opened.raw
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            stream = gzip.GzipFile(fileobj=raw) if packed else raw
            line = next(islice(stream, number - 1, None), b"")
    except (OSError, EOFError, zlib.error, NotRegularError, UntrustedError):
        return ""
    text = line[:MAXIMUM_LINE].decode("utf-8", "replace")
    return text.removeprefix("\ufeff").rstrip("\r\n")
