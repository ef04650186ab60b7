"""Undoing what runs have left whose guard and undoer were both killed.

Always true: a running router's changes stay; what cannot be undone is named, stays in the journal,
and does not keep the rest from being undone; the changes of a network that is gone went with it,
but for those that do not (Undoable.goes_with_network).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from router.platform.base.processes import Leftover
from router.platform.privileged.journal import SUFFIX, Journal, Line
from router.platform.privileged.runtime import remove_runtime_directory
from router.platform.privileged.undoable import Undoable
from router.platform.reason import reason

log = logging.getLogger(__name__)

NOT_OURS: Final = (
    "another version of tunrouter wrote it, or it is damaged; let that version clean up, or "
)


def clean_up(system: Undoable, directory: Path) -> Iterator[Leftover]:
    """What was left in a runtime directory, and whether it is undone.

    Raises OSError where nothing can be read at all.
    """
    for path in sorted(directory.glob("*" + SUFFIX)):
        try:
            journal = Journal.adopt(system, path)
            if journal is not None:
                yield from _undo(system, journal)
        except OSError as error:
            yield Leftover(str(path), f"{error.strerror}: check what it is, and delete it")
    remove_runtime_directory(directory)


def log_leftover(leftover: Leftover) -> None:
    if leftover.why is None:
        log.warning("undone what a killed run had left: %s", leftover.words)
    else:
        log.warning(
            "what a killed run left could not be undone: %s: %s", leftover.words, leftover.why
        )


def _undo(system: Undoable, journal: Journal) -> Iterator[Leftover]:
    """The last first. Raises OSError."""
    undone = []
    try:
        for line in reversed(journal.lines()):
            entry = line.entry
            if line.is_elsewhere and entry is not None and system.goes_with_network(entry):
                undone.append(entry)
                continue
            left = _undo_line(system, line, journal.path)
            if entry is not None and left.why is None:
                undone.append(entry)
            yield left
        journal.remove_entries(undone)
    finally:
        journal.close()


def _undo_line(system: Undoable, line: Line, path: Path) -> Leftover:
    if line.entry is None:
        return Leftover(line.place, f"{line.fault}: {NOT_OURS}{system.manual}")
    try:
        system.undo(line.entry)
    except OSError as error:
        why = f"{reason(error)}: `sudo tunrouter cleanup` tries again as long as it is in {path}"
        return Leftover(system.describe(line.entry), why)
    return Leftover(system.describe(line.entry))
