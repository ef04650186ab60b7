"""What YAML's own errors mean to somebody who writes rules.

Always true: libyaml and PyYAML word the same error differently and both say little; what is told
here is the same for both, at the place where the mistake is rather than where it was noticed.

Must not know: what a rules file may say, beyond the mistakes that addresses in YAML invite.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import yaml

from router.config.model import Place
from router.config.problems import Problem, Severity, harmless

QUOTE_IPV6 = "quote IPv6 addresses that begin or end with ':', as in \"fd00::\""


class _Spot(NamedTuple):
    """A place in the text, counted from 0 as YAML's marks are."""

    line: int
    column: int


class _Meaning(NamedTuple):
    """What to say about an error whose text matches `found`.

    `at_opening` says to point where what is open began. `{char}` is the character at the error and
    `{line}` the line of the opening.
    """

    found: str
    message: str
    remedy: str
    at_opening: bool = False


_MEANINGS = (
    _Meaning(
        "mapping values are not allowed",
        "this ':' makes a key where none can stand",
        "correct the indentation, or put a value with ': ' in it or ':' at its end in quotes",
    ),
    _Meaning(
        "could not find expected ':'",
        "a ':' is missing after this key",
        "write 'key: value', with a space between",
        at_opening=True,
    ),
    _Meaning(
        "cannot start any token",
        "a value can't begin with '{char}'",
        "put the value in quotes",
    ),
    _Meaning(
        "unexpected end of stream",
        "this quoted value is never closed",
        "add the closing quote",
        at_opening=True,
    ),
    _Meaning(
        "unexpected ':'|expected ',' or .* got ':'",
        "a ':' ends a value inside brackets",
        QUOTE_IPV6,
    ),
    _Meaning(
        "node content",
        "a value is expected before '{char}'",
        f"write one; {QUOTE_IPV6}",
    ),
    _Meaning(
        "document start",
        "text follows the end of the document",
        "remove the line '...' or this text",
    ),
    _Meaning(
        "<block end>|expected key|'-' indicator",
        "this line fits nothing above it",
        "align it with the block that begins on line {line}, or indent it further",
    ),
    _Meaning(
        "unknown escape",
        "a backslash in double quotes begins no escape",
        "use single quotes",
        at_opening=True,
    ),
)


def explain_syntax(file: str, text: str, error: yaml.MarkedYAMLError) -> Problem:
    """The problem that a YAML error stands for. `error` comes from either parser."""
    lines = text.split("\n")
    here = _spot(lines, error.problem_mark)
    opened = _spot(lines, error.context_mark or error.problem_mark)
    at_end = _at_end(lines, error.problem_mark)
    spot, message, remedy = _diagnose(lines, error.problem or "", here, opened, at_end)
    place = Place(file, spot.line + 1, spot.column + 1)
    return Problem("yaml-syntax", Severity.ERROR, place, message, remedy)


def _diagnose(
    lines: list[str], found: str, here: _Spot, opened: _Spot, at_end: bool
) -> tuple[_Spot, str, str]:
    """Where to point, what to say and what to do about it."""
    line = lines[here.line]
    indent = line[: len(line) - len(line.lstrip())]
    if "\t" in indent and here.column <= len(indent):
        return _Spot(here.line, indent.index("\t")), "a tab is used to indent", "indent with spaces"
    char = harmless(line[here.column : here.column + 1])
    before = _line_without_colon(lines, here)
    if "mapping values are not allowed" in found and before is not None:
        return before, "a ':' is missing after this key", "write 'key: value'"
    for meaning in _MEANINGS:
        if re.search(meaning.found, found):
            message = meaning.message.format(char=char)
            remedy = meaning.remedy.format(char=char, line=opened.line + 1)
            return (opened if meaning.at_opening else here), message, remedy
    if "expected ',' or" in found:
        return _unclosed(lines, here, opened, at_end)
    return here, f"YAML can't be read here: {harmless(found)}", "correct the YAML on this line"


def _line_without_colon(lines: list[str], here: _Spot) -> _Spot | None:
    """Where the line above begins, if that is what turned the key at `here` into a mere word."""
    above = here.line - 1
    while above >= 0 and not lines[above].partition("#")[0].strip():
        above -= 1
    if above < 0 or ":" in lines[above] or ":" in lines[here.line][: here.column]:
        return None
    return _Spot(above, len(lines[above]) - len(lines[above].lstrip()))


def _unclosed(lines: list[str], here: _Spot, opened: _Spot, at_end: bool) -> tuple[_Spot, str, str]:
    bracket = lines[opened.line][opened.column : opened.column + 1]
    closing = {"{": "}", "[": "]"}.get(bracket, "}")
    if at_end:
        return opened, f"this '{bracket}' is never closed", f"add '{closing}'"
    return (
        here,
        f"a ',' or '{closing}' is missing before this",
        f"add it; the '{bracket}' stands on line {opened.line + 1}",
    )


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


def _at_end(lines: list[str], mark: yaml.Mark | None) -> bool:
    """Whether nothing but blanks follows a mark."""
    if mark is None or mark.line >= len(lines):
        return True
    rest = [lines[mark.line][mark.column :], *lines[mark.line + 1 :]]
    return not any(line.strip() for line in rest)
