"""`tunrouter lists`: list files as sets of addresses, printed as a list file.

Always true: nothing goes to standard output when a file has an error.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from router.cli import exits
from router.cli.rules_file import print_problems
from router.config.lists_alone import STANDARD_INPUT, read_lists
from router.config.loader import collector_paused
from router.config.model import PrefixList
from router.config.problems import has_errors, quoted
from router.policy.list_algebra import merged, without

Operation = Callable[[Sequence[PrefixList]], Iterator[str]]


def _merge(lists: Sequence[PrefixList]) -> Iterator[str]:
    yield from merged(lists)


def _minus(lists: Sequence[PrefixList]) -> Iterator[str]:
    yield from without(lists[0], lists[1:])


def _diff(lists: Sequence[PrefixList]) -> Iterator[str]:
    old, new = lists
    for sign, found in (("-", without(old, [new])), ("+", without(new, [old]))):
        yield from (f"{sign} {network}" for network in found)


OPERATIONS: Final[dict[str, Operation]] = {"merge": _merge, "minus": _minus, "diff": _diff}


def lists(operation: str, files: Sequence[str]) -> int:
    """Print what an operation makes of list files; the exit status."""
    repeated = _repeated_stream(files)
    if repeated is not None:
        print(
            f"tunrouter lists {operation}: {quoted(repeated)} is a stream named twice, and can be "
            "read once only: name a file instead",
            file=sys.stderr,
        )
        return exits.BAD_RULES
    with collector_paused():
        read = read_lists(files)
        print_problems(read.problems, read.sources, sys.stderr)
        if has_errors(read.problems):
            return exits.BAD_RULES
        sys.stdout.writelines(f"{line}\n" for line in OPERATIONS[operation](read.lists))
    return exits.OK


def _repeated_stream(files: Sequence[str]) -> str | None:
    """The second name of the first stream that is named twice."""
    seen = set()
    for name in files:
        stream = _stream(name)
        if stream is not None and stream in seen:
            return name
        seen.add(stream)
    return None


def _stream(name: str) -> tuple[int, int] | None:
    """Device and inode of what can be read once only; None for a file, and what can't be opened."""
    try:
        found = os.fstat(0) if name == STANDARD_INPUT else Path(name).stat()
        null = Path(os.devnull).stat()
    except (OSError, ValueError):
        return None
    reopened = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
    if name != STANDARD_INPUT and (reopened or os.path.samestat(found, null)):
        return None
    return found.st_dev, found.st_ino
