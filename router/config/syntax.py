"""YAML's own errors, explained for authors of rules.

Always true: an explanation follows from the text, from where the error was detected (and where what
is open there began), and from whether the scanner or the parser detected it, never from the words
of the error: these differ between libyaml and PyYAML, and from one version to the next. The place
that it names is that of the mistake rather than where it was detected.

Must not know: the contents of a rules file, beyond the mistakes that addresses in YAML invite.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import yaml
from yaml.scanner import ScannerError

from router.config.model import Place
from router.config.problems import Problem, Severity
from router.config.text import harmless

QUOTE_IPV6 = "quote IPv6 addresses that begin or end with ':', as in \"fd00::\""

MAXIMUM_DEPTH = 32
TOO_DEEP = f"the values are nested more than {MAXIMUM_DEPTH} deep"
CLOSE_BRACKETS = "close the brackets that were left open; rules need no more than four levels"

NEVER_FIRST = ("@", "`", "%", "|", ">")
"""Characters that no value can begin with where they are not what YAML has them for."""

QUOTED = re.compile(r"""\"(?:[^"\\]|\\.)*\"|'(?:[^']|'')*'""", re.DOTALL)
"""A quoted value that is closed."""


class _Spot(NamedTuple):
    """A place in the text, counted from 0 as YAML's marks are."""

    line: int
    column: int


class _Noticed(NamedTuple):
    """Where an error was noticed, and where what is open there began: a value, key or collection.

    Where the error names no such place (`has_opening`) `opened` is `here`. `inside` says that it
    lies before, `at_end` that nothing but blanks follows.
    """

    lines: list[str]
    here: _Spot
    opened: _Spot
    has_opening: bool
    inside: bool
    at_end: bool

    @property
    def char(self) -> str:
        return self._character(self.here)

    @property
    def opening(self) -> str:
        return self._character(self.opened)

    @property
    def passage(self) -> str:
        """The text from the opening up to here."""
        first, last = self.opened, self.here
        if first.line == last.line:
            return self.lines[first.line][first.column : last.column]
        between = self.lines[first.line + 1 : last.line]
        start, end = self.lines[first.line][first.column :], self.lines[last.line][: last.column]
        return "\n".join([start, *between, end])

    def _character(self, spot: _Spot) -> str:
        return harmless(self.lines[spot.line][spot.column : spot.column + 1])


class _Fault(NamedTuple):
    """Where to point, what to say and what to do about it."""

    spot: _Spot
    message: str
    remedy: str


def explain_syntax(file: str, text: str, error: yaml.MarkedYAMLError) -> Problem:
    """The problem that a YAML error stands for. `error` comes from either parser."""
    lines = text.split("\n")
    mark, context = error.problem_mark, error.context_mark or error.problem_mark
    noticed = _Noticed(
        lines,
        here=_spot(lines, mark),
        opened=_spot(lines, context),
        has_opening=error.context_mark is not None,
        inside=_position(context) != _position(mark),
        at_end=_at_end(lines, mark),
    )
    spot, message, remedy = _diagnose(noticed, isinstance(error, ScannerError))
    place = Place(file, spot.line + 1, spot.column + 1)
    return Problem("yaml-syntax", Severity.ERROR, place, message, remedy)


def _diagnose(noticed: _Noticed, by_scanner: bool) -> _Fault:
    here = noticed.here
    line = noticed.lines[here.line]
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent and here.column <= len(indent):
        spot = _Spot(here.line, indent.index("\t"))
        return _Fault(spot, "a tab is used to indent", "indent with spaces")
    if by_scanner:
        return _unfinished(noticed) if noticed.inside else _misplaced(noticed)
    return _unfitting(noticed) if noticed.has_opening else _outside(noticed)


def _misplaced(noticed: _Noticed) -> _Fault:
    """The scanner found a character that can't stand here."""
    here, char = noticed.here, noticed.char
    if noticed.has_opening and char not in NEVER_FIRST:
        return _Fault(here, TOO_DEEP, CLOSE_BRACKETS)  # libyaml has a bound of its own
    if char == ":":
        before = _line_without_colon(noticed.lines, here)
        if before is not None:
            return _Fault(before, "a ':' is missing after this key", "write 'key: value'")
        return _Fault(
            here,
            "this ':' makes a key where none can stand",
            "correct the indentation, or put a value with ': ' in it or ':' at its end in quotes",
        )
    if char in ("-", "?"):
        what = "list" if char == "-" else "key"
        return _Fault(
            here,
            f"this '{char}' begins a {what} where none can stand",
            f"begin it on a line of its own, or put a value that begins with '{char} ' in quotes",
        )
    return _Fault(here, f"a value can't begin with '{char}'", "put the value in quotes")


def _unfinished(noticed: _Noticed) -> _Fault:
    """The scanner came to no good end of what it has begun: a key or a value."""
    here, opened, opening = noticed.here, noticed.opened, noticed.opening
    if opening in ("'", '"') and not QUOTED.match(noticed.passage):
        return _unclosed_quote(noticed)
    if opening in ("|", ">"):
        return _Fault(
            opened, f"nothing can follow this '{opening}' on its line", "put the value in quotes"
        )
    if opening == "%" and opened.column == 0:
        return _bad_directive(opened)
    if opening in ("*", "&", "!") and not re.search(r"\s", noticed.passage):
        what = "tag" if opening == "!" else "name"
        return _Fault(
            opened,
            f"no {what} can be read behind this '{opening}'",
            f"put a value that begins with '{opening}' in quotes",
        )
    if noticed.char == ":" and here.line == opened.line:
        return _colon_in_brackets(here)
    return _Fault(
        opened, "a ':' is missing after this key", "write 'key: value', with a space between"
    )


def _unclosed_quote(noticed: _Noticed) -> _Fault:
    # What ends a document within a quoted value stands at the beginning of a line.
    if noticed.at_end or noticed.here.column == 0:
        return _Fault(noticed.opened, "this quoted value is never closed", "add the closing quote")
    return _Fault(
        noticed.opened, "a backslash in double quotes begins no escape", "use single quotes"
    )


def _outside(noticed: _Noticed) -> _Fault:
    """The parser found something before or after the document."""
    if noticed.char == "%":
        return _bad_directive(noticed.here)
    return _Fault(
        noticed.here,
        "text follows the end of the document",
        "remove the line '...' or this text",
    )


def _unfitting(noticed: _Noticed) -> _Fault:
    """The parser found something that does not fit what is open: a node, brackets or a block."""
    here, char = noticed.here, noticed.char
    if char == "!" and re.fullmatch(r"(&\S*\s*)?", noticed.passage):
        return _Fault(
            here,
            "the tag that begins here means nothing",
            "leave the tag out, or quote a value that begins with '!'",
        )
    if not noticed.inside:
        return _Fault(here, f"a value is expected before '{char}'", f"write one; {QUOTE_IPV6}")
    if noticed.opening in ("{", "["):
        return _colon_in_brackets(here) if char == ":" else _unclosed_bracket(noticed)
    return _Fault(
        here,
        "this line fits nothing above it",
        f"align it with the block that begins on line {noticed.opened.line + 1}, "
        "or indent it further",
    )


def _unclosed_bracket(noticed: _Noticed) -> _Fault:
    bracket, opened = noticed.opening, noticed.opened
    closing = {"{": "}", "[": "]"}[bracket]
    if noticed.at_end:
        return _Fault(opened, f"this '{bracket}' is never closed", f"add '{closing}'")
    return _Fault(
        noticed.here,
        f"a ',' or '{closing}' is missing before this",
        f"add it; the '{bracket}' stands on line {opened.line + 1}",
    )


def _bad_directive(spot: _Spot) -> _Fault:
    return _Fault(spot, "this directive can't be read", "remove the line: rules need no directives")


def _colon_in_brackets(spot: _Spot) -> _Fault:
    return _Fault(spot, "a ':' ends a value inside brackets", QUOTE_IPV6)


def _line_without_colon(lines: list[str], here: _Spot) -> _Spot | None:
    """Where the line above begins, if that is what turned the key at `here` into a mere word."""
    above = here.line - 1
    while above >= 0 and not lines[above].partition("#")[0].strip():
        above -= 1
    if above < 0 or ":" in lines[above] or ":" in lines[here.line][: here.column]:
        return None
    return _Spot(above, len(lines[above]) - len(lines[above].lstrip()))


def _spot(lines: list[str], mark: yaml.Mark | None) -> _Spot:
    """A mark, moved to the end of the last line that has text when it points behind it."""
    if mark is None:
        return _Spot(0, 0)
    last = len(lines) - 1
    while last > 0 and not lines[last].strip():
        last -= 1
    if mark.line > last:
        return _Spot(last, max(0, len(lines[last].rstrip()) - 1))
    return _Spot(mark.line, min(mark.column, max(0, len(lines[mark.line]) - 1)))


def _position(mark: yaml.Mark | None) -> tuple[int, int] | None:
    return None if mark is None else (mark.line, mark.column)


def _at_end(lines: list[str], mark: yaml.Mark | None) -> bool:
    """Whether nothing but blanks follows a mark."""
    if mark is None or mark.line >= len(lines):
        return True
    rest = [lines[mark.line][mark.column :], *lines[mark.line + 1 :]]
    return not any(line.strip() for line in rest)
