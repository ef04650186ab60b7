"""Undoing what runs have left whose guard and undoer were both killed.

Always true: a running router's changes stay; what cannot be undone is named, stays in the journal,
and does not keep the rest from being undone; the changes of a network namespace that is gone went
with it, but for the files of sockets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from router.platform.base.processes import Leftover
from router.platform.linux.entries import describe, goes_with_namespace
from router.platform.linux.journal import SUFFIX, Journal, Line
from router.platform.linux.runtime import remove_runtime_directory, runtime_directory
from router.platform.linux.undo import undo
from router.platform.reason import reason

NOT_OURS: Final = (
    "another version of tunrouter wrote it, or it is damaged; let that version clean up, or "
    "check what is left (sysctl -a -r rp_filter; ip -6 rule) and delete the file"
)


def clean_up() -> Iterator[Leftover]:
    """What was left in the present network namespace, and whether it is undone.

    Raises OSError where nothing can be read at all.
    """
    directory = runtime_directory()
    for path in sorted(directory.glob("*" + SUFFIX)):
        try:
            journal = Journal.adopt(path)
            if journal is not None:
                yield from _undo(journal)
        except OSError as error:
            yield Leftover(str(path), f"{error.strerror}: check what it is, and delete it")
    remove_runtime_directory(directory)


def _undo(journal: Journal) -> Iterator[Leftover]:
    """The last first. Raises OSError."""
    undone = []
    try:
        for line in reversed(journal.lines()):
            if line.is_elsewhere and line.entry is not None and goes_with_namespace(line.entry):
                undone.append(line.entry)
                continue
            left = _undo_line(line, journal.path)
            if line.entry is not None and left.why is None:
                undone.append(line.entry)
            yield left
        journal.remove_entries(undone)
    finally:
        journal.close()


def _undo_line(line: Line, path: Path) -> Leftover:
    if line.entry is None:
        return Leftover(line.place, f"{line.fault}: {NOT_OURS}")
    try:
        undo(line.entry)
    except OSError as error:
        why = f"{reason(error)}: `sudo tunrouter cleanup` tries again as long as it is in {path}"
        return Leftover(describe(line.entry), why)
    return Leftover(describe(line.entry))
