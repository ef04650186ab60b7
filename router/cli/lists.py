"""`tunrouter lists`: list files as sets of addresses, printed as a list file.

Always true: nothing goes to standard output when a file has an error.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from router.cli import exits
from router.cli.rules_file import print_problems
from router.config.lists_alone import STANDARD_INPUT, read_lists
from router.config.loader import collector_paused
from router.config.model import PrefixList
from router.config.problems import has_errors
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
    if files.count(STANDARD_INPUT) > 1:
        print(
            f"tunrouter lists {operation}: '{STANDARD_INPUT}', the standard input, can be read "
            "once only: name a file instead",
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
