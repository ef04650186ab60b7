"""Undoing what runs have left whose guard and undoer were both killed.

Always true: what a router that runs has done is not touched; what cannot be undone is named, stays
written down, and keeps nothing else from being undone; what was done in a namespace that is gone is
gone with it, but for the files of sockets.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from router.platform.base.processes import Leftover
from router.platform.linux.entries import described, goes_with_namespace
from router.platform.linux.journal import SUFFIX, Journal, Line
from router.platform.linux.runtime import remove_runtime_directory, runtime_directory
from router.platform.linux.undo import undo

NOT_OURS: Final = (
    "another version of tunrouter has written it, or it is damaged; let that version clean up, or "
    "see what is left (sysctl -a -r rp_filter; ip -6 rule) and delete the file"
)


def clean_up() -> Iterator[Leftover]:
    """What was left in the present network namespace, and what has become of it.

    Raises OSError where nothing can be read at all.
    """
    directory = runtime_directory()
    for path in sorted(directory.glob("*" + SUFFIX)):
        try:
            journal = Journal.take_up(path)
            if journal is not None:
                yield from _undo(journal)
        except OSError as error:
            yield Leftover(str(path), f"{error.strerror}: see what it is, and delete it")
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
        journal.strike_out(undone)
    finally:
        journal.close()


def _undo_line(line: Line, path: Path) -> Leftover:
    if line.entry is None:
        return Leftover(line.place, f"{line.fault}: {NOT_OURS}")
    try:
        undo(line.entry)
    except OSError as error:
        why = f"{error}: `sudo tunrouter cleanup` tries again as long as {path} has it"
        return Leftover(described(line.entry), why)
    return Leftover(described(line.entry))
