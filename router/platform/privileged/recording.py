"""The undoer's process: it undoes the guard's changes when the guard cannot.

It has a session of its own. It records (`journal`) each change that the guard announces, and
replies whether it could. When its input ends, because the guard closed it or was killed, it undoes
everything, the last change first, and ends. It does so too when the router has ended and the guard
has not closed its input after a while. The guard's end is `undoer`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from typing import Final

from router.platform.base.descriptors import HasFileno
from router.platform.log import log_to
from router.platform.privileged.journal import Journal
from router.platform.privileged.runtime import remove_runtime_directory
from router.platform.privileged.undoable import Entry, Undoable, undo_all
from router.platform.reason import reason

log = logging.getLogger(__name__)

GRACE: Final = 5.0
"""Seconds that the guard has after the router's end to finish what it is doing."""
STATUS: Final = Struct("=i")
"""The reply to each line: 0 when it is recorded, else an errno number."""
CONNECTION: Final = 0
"""The descriptor that it inherits."""


def run(system: Undoable, arguments: Sequence[str]) -> int:
    """The undoer's process: record until the input or the router ends, then undo; the exit status.

    arguments: path and descriptor of the journal, and the words of Watched, if there is one.
    """
    log_to(sys.stderr, os.environ)
    path, descriptor, *watched = arguments
    journal = Journal(system, Path(path), int(descriptor))
    return _serve(system, journal, system.watch(watched[0]) if watched else None)


def _serve(system: Undoable, journal: Journal, router: HasFileno | int | None) -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    entries: list[Entry] = []
    status = 0
    try:
        _record_all(system, journal, router, entries)
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else error
        log.error("changes to undo cannot be recorded: %s", why)  # noqa: TRY400 - for people
        status = 1
    undone = undo_all(system, entries)
    is_updated = close_journal(journal, undone)
    return status if is_updated and len(undone) == len(entries) else 1


def _record_all(
    system: Undoable, journal: Journal, router: HasFileno | int | None, entries: list[Entry]
) -> None:
    """Each line of the input, until it ends. Raises OSError; ValueError for an invalid entry."""
    with os.fdopen(CONNECTION, "rb", buffering=0) as lines:
        while _has_input(router) and (line := lines.readline()):
            if line.endswith(b"\n"):
                entry = system.parse_entry(line, journal.path.parent)
                number = _record(journal, entry)
                if number == 0:
                    entries.append(entry)
                with contextlib.suppress(BrokenPipeError):  # the input ends then as well
                    os.write(CONNECTION, STATUS.pack(number))


def _has_input(router: HasFileno | int | None) -> bool:
    """Wait for input, or its end; False GRACE seconds after the router's end."""
    sources: list[HasFileno | int] = [CONNECTION, *([] if router is None else [router])]
    ready, _, _ = select.select(sources, [], [])
    if CONNECTION not in ready:
        ready, _, _ = select.select([CONNECTION], [], [], GRACE)
    return CONNECTION in ready


def _record(journal: Journal, entry: Entry) -> int:
    """See STATUS."""
    try:
        journal.write(entry)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def close_journal(journal: Journal, undone: list[Entry]) -> bool:
    """Remove what is undone, and leave the rest to `cleanup`; whether it could be removed."""
    try:
        journal.remove_entries(undone)
    except OSError as error:
        log.error("the journal of changes cannot be updated: %s", reason(error))  # noqa: TRY400 - for people
        return False
    finally:
        journal.close()
    remove_runtime_directory(journal.path.parent)
    return True
