"""The text behind the places of problems: lines of the rules file and of list files.

Always true: the rules file is kept whole; of a list file, which may have a million lines, only
those lines are kept that have a problem, and others are read again when they are needed.

Must not know: what the lines mean.
"""

from __future__ import annotations

import gzip
import zlib
from itertools import islice
from pathlib import Path

MAXIMUM_LINE = 65_536
"""Bytes of a list line that are ever looked at."""


class Sources:
    """Lines by file and number (from 1). Files are known by the name that places carry."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._split: dict[str, list[str]] = {}
        self._lines: dict[tuple[str, int], str] = {}
        self._lists: dict[str, Path] = {}

    def add_text(self, file: str, text: str) -> None:
        """Keep a whole file whose lines end in a newline and nothing else."""
        self._texts[file] = text

    def add_list(self, file: str, path: Path) -> None:
        """Make the lines of a list file available without reading it now."""
        self._lists[file] = path

    def remember(self, file: str, number: int, line: str) -> None:
        self._lines[file, number] = line

    def line(self, file: str, number: int) -> str | None:
        """The text of a line without its end; None where there is none (any more)."""
        if file in self._texts:
            lines = self._split.get(file)
            if lines is None:
                lines = self._split[file] = self._texts[file].split("\n")
            return lines[number - 1] if number <= len(lines) else None
        if (file, number) not in self._lines and file in self._lists:
            self._lines[file, number] = _read_line(self._lists[file], number)
        return self._lines.get((file, number))


def _read_line(path: Path, number: int) -> str:
    """One line of a list file, plain or compressed; empty when it can't be read."""
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            stream = gzip.GzipFile(fileobj=raw) if packed else raw
            line = next(islice(stream, number - 1, None), b"")
    except (OSError, EOFError, zlib.error):
        return ""
    text = line[:MAXIMUM_LINE].decode("utf-8", "replace")
    return text.removeprefix("\ufeff").rstrip("\r\n")
