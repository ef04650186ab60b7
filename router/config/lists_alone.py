"""List files that no rules file names, as `tunrouter lists` takes them.

Always true: they are read as rules read them; every problem of every file is reported, those of
what can't be opened without a place. Repetitions and empty lists are none here.

Must not know: rules, what becomes of the lists.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from router.config.list_lines import Budget, ListReader, TooMuchError
from router.config.lists import READING_ERRORS, ListError, pieces, reason, too_much
from router.config.model import PrefixList
from router.config.problems import Problem, Severity, quoted
from router.config.sources import Sources

STANDARD_INPUT = "-"
STANDARD_INPUT_SHOWN = "<stdin>"


@dataclass(slots=True)
class ReadLists:
    """`lists` are those asked for, in that order; worth something if no problem is an error."""

    lists: list[PrefixList] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    sources: Sources = field(default_factory=Sources)


def read_lists(names: Iterable[str]) -> ReadLists:
    """Read the files of these names; `-` is the standard input, which can be read once only."""
    read = ReadLists()
    budget = Budget()
    for name in names:
        prefixes = PrefixList(STANDARD_INPUT_SHOWN if name == STANDARD_INPUT else name)
        reader = ListReader(prefixes, read.sources, budget)
        try:
            with _opened(name) as raw:
                for lines in pieces(raw, zipped=name.endswith(".gz")):
                    reader.take(lines)
        except TooMuchError as error:
            reader.problems.append(too_much(error, prefixes.file, reader.line, None))
        except (ValueError, *READING_ERRORS) as error:
            reader.problems.append(_unreadable(prefixes.file, error))
        else:
            reader.count_rest(None)
        read.lists.append(prefixes)
        read.problems += reader.problems
    return read


@contextmanager
def _opened(name: str) -> Iterator[BufferedReader]:
    """Raises OSError, and ValueError for a name with a NUL character."""
    if name != STANDARD_INPUT:
        with Path(name).open("rb") as raw:
            yield raw
    elif sys.stdin is None:  # as Python has it for a descriptor that is closed
        raise ListError("the standard input is closed")
    else:
        assert isinstance(sys.stdin.buffer, BufferedReader)
        yield sys.stdin.buffer


def _unreadable(file: str, error: Exception) -> Problem:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        message, code = f"there is no list file {quoted(file)}", "missing-list"
        return Problem(code, Severity.ERROR, None, message, "create it or correct the path")
    if isinstance(error, PermissionError):
        message, remedy = f"the list {quoted(file)} may not be read", "chmod a+r it"
    else:
        message = f"the list {quoted(file)} can't be read: {reason(error)}"
        remedy = "name a file with one network or range a line"
    return Problem("unreadable-list", Severity.ERROR, None, message, remedy)
