"""Problems of a rules file, as text and as JSON.

Always true: a problem has a stable kebab-case code, a message that names the bad value, and a
remedy; its place is None only where no file is to blame (the state of the system, say). There are
two severities, because the JSON form has two and the exit code must follow from it: what is merely
worth knowing is a warning. Text from files is made harmless before it is shown, so that a list
fetched from elsewhere can't send control sequences to the terminal.

Must not know: YAML, what the codes mean, or where problems come from.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from router.config.text import harmless

if TYPE_CHECKING:
    from router.config.model import Place

WINDOW = 120
"""Screen columns of a source line that are shown; longer lines are cut around the value."""

ELLIPSIS = "…"
HAS_PASSWORD: Final = re.compile(r"password[\"']?\s*[:=]", re.IGNORECASE)
"""Source lines that are not shown, whatever is wrong in them."""


class Severity(StrEnum):
    ERROR = "error"
    WARNING = "warning"


class LineSource(Protocol):
    """A source of the text of a line (counted from 1), or None where it has none."""

    def line(self, file: str, number: int) -> str | None: ...


class Problem(NamedTuple):
    """One problem. `message` names the value, `help` the remedy.

    shows_line: whether the source line may be shown; it may have a password.
    """

    code: str
    severity: Severity
    place: Place | None
    message: str
    help: str
    shows_line: bool = True

    def as_json(self) -> dict[str, str | int | None]:
        """The members that scripts rely on; file, line and column are None without a place."""
        place = self.place
        return {
            "code": self.code,
            "severity": self.severity.value,
            "file": place.file if place else None,
            "line": place.line if place else None,
            "column": place.column if place else None,
            "message": self.message,
            "help": self.help,
        }

    def as_text(self, sources: LineSource) -> str:
        """The header line, the source line, carets under the value, and the help line."""
        lines = [harmless(self._header()), *self.excerpt(sources)]
        if self.help:
            lines.append(harmless(f"help: {self.help}"))
        return "\n".join(lines)

    def excerpt(self, sources: LineSource) -> list[str]:
        """The source line and the carets under the value; empty where there is no such line."""
        if self.place is None or not self.shows_line:
            return []
        source = sources.line(self.place.file, self.place.line)
        if source is None or not source.strip() or HAS_PASSWORD.search(source):
            return []
        return point_at(source, self.place.column, self.place.width)

    def as_line(self) -> str:
        """Place, message and help, for a log."""
        return harmless(f"{self._header()}; {self.help}" if self.help else self._header())

    def as_github(self) -> str:
        """A workflow command, which GitHub shows as an annotation at the line.

        Source: GitHub Docs, "Workflow commands for GitHub Actions", setting an error message.
        """
        properties = [f"title={_escape_property(self.code)}"]
        if self.place is not None:
            properties = [
                f"file={_escape_property(self.place.file)}",
                f"line={self.place.line}",
                f"col={self.place.column}",
                *properties,
            ]
        data = f"{self.message}\nhelp: {self.help}" if self.help else self.message
        return f"::{self.severity.value} {','.join(properties)}::{_escape_data(data)}"

    def _header(self) -> str:
        what = f"{self.severity.value}[{self.code}]: {self.message}"
        if self.place is None:
            return what
        return f"{self.place.file}:{self.place.line}:{self.place.column}: {what}"


def has_errors(problems: Iterable[Problem]) -> bool:
    return any(problem.severity is Severity.ERROR for problem in problems)


def quoted(text: str, limit: int = 60) -> str:
    """A value in single quotes, as a message may carry it: printable and not too long."""
    shown = harmless(text)
    if len(shown) > limit:
        shown = shown[: limit - 1] + ELLIPSIS
    return f"'{shown}'"


def point_at(source: str, column: int, width: int) -> list[str]:
    """The source line and the line of carets under `width` characters from `column` (from 1).

    Tabs stay tabs in both lines, so that the carets stand right whatever a tab is wide.
    """
    source = source.rstrip()
    start = min(column - 1, len(source))
    stop = min(max(start + width, start + 1), max(len(source), start + 1))
    left, right = _window(len(source), start, stop)
    before = "\t".join(map(harmless, source[left:start].split("\t")))
    value = "\t".join(map(harmless, source[start : min(stop, right)].split("\t")))
    after = "\t".join(map(harmless, source[min(stop, right) : right].split("\t")))
    head = ELLIPSIS if left else ""
    tail = ELLIPSIS if right < len(source) else ""
    padding = "".join("\t" if char == "\t" else " " * _columns(char) for char in head + before)
    carets = "^" * max(1, sum(map(_columns, value)))
    return [f"{head}{before}{value}{after}{tail}", f"{padding}{carets}"]


def _window(length: int, start: int, stop: int) -> tuple[int, int]:
    """Which characters of a long line to show: the value with what stands around it."""
    if length <= WINDOW:
        return 0, length
    room = max(0, WINDOW - (stop - start))
    left = max(0, min(start - room // 2, length - WINDOW))
    return left, min(length, left + WINDOW)


def _columns(char: str) -> int:
    """How many screen columns a character takes (Unicode Annex 11)."""
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _escape_data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _escape_property(text: str) -> str:
    return _escape_data(text).replace(":", "%3A").replace(",", "%2C")
