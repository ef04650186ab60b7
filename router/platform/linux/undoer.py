"""The process that undoes what the guard has done when the guard cannot.

It has a session of its own, does nothing but write down (`journal`) what the guard is about to do,
and says so when it has. When its input ends, because the guard has closed it or because the guard
was killed, it takes everything back, the last first, and ends. When it is the undoer that dies, the
guard sees the connection end, and undoes everything itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

from router.platform.linux.entries import Entry, as_line, understood
from router.platform.linux.journal import Journal
from router.platform.linux.runtime import remove_runtime_directory
from router.platform.linux.undo import undo_all
from router.platform.log import log_to

log = logging.getLogger(__name__)

PATIENCE: Final = 10.0
"""Seconds to wait for it at the end; it needs a fraction of one."""
WRITTEN: Final = b"\n"
CONNECTION: Final = 0
"""The descriptor that it is born with."""


class Undoer:
    """The guard's end: `record` before the deed, `close` when all is to be undone.

    Its descriptor becomes readable when the process at the other end is gone.
    """

    def __init__(self, journal: Path) -> None:
        self._entries: list[Entry] = []
        self._journal = journal
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __spec__.name, str(journal)],
                stdin=theirs.fileno(),
                start_new_session=True,
            )

    def fileno(self) -> int:
        return self._connection.fileno()

    def record(self, entry: Entry) -> None:
        """Have written down how to undo what is about to be done; once is enough for what is done
        again.

        Raises OSError if nobody would undo it.
        """
        if entry in self._entries:
            return
        self._connection.sendall(as_line(entry))
        if self._connection.recv(1) != WRITTEN:
            raise ConnectionResetError("the process that would undo it is gone")
        self._entries.append(entry)

    def close(self) -> bool:
        """Undo everything; whether that has worked."""
        self._connection.close()
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        return status == 0 or self._undo_instead()

    def _undo_instead(self) -> bool:
        """What the process at the other end cannot; whether all of it could be undone."""
        undone = undo_all(self._entries)
        try:
            journal = Journal.take_up(self._journal)
            if journal is not None:
                _strike_out(journal, undone)
        except OSError as error:
            log.error("what is undone cannot be struck out: %s", error)  # noqa: TRY400 - for people
            return False
        return len(undone) == len(self._entries)


def _strike_out(journal: Journal, undone: list[Entry]) -> None:
    """What could not be undone is left to be found."""
    journal.strike_out(undone)
    journal.close()
    remove_runtime_directory(journal.path.parent)


def main(path: Path) -> int:
    """Write down until the input ends, then undo; the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    entries: list[Entry] = []
    try:
        journal = Journal.begin(path)
        try:
            _write_down(journal, entries)
        finally:
            undone = undo_all(entries)
            _strike_out(journal, undone)
    except (OSError, ValueError) as error:
        log.error("what a run does cannot be written down: %s", error)  # noqa: TRY400 - for people
        return 1
    return 0 if len(undone) == len(entries) else 1


def _write_down(journal: Journal, entries: list[Entry]) -> None:
    """Each line of the input, until it ends. Raises OSError; ValueError for what could not be
    undone."""
    with os.fdopen(CONNECTION, "rb", buffering=0) as lines:
        for line in lines:
            if line.endswith(b"\n"):
                entry = understood(line, journal.path.parent)
                journal.write(entry)
                entries.append(entry)
                with contextlib.suppress(BrokenPipeError):  # the input ends then as well
                    os.write(CONNECTION, WRITTEN)


if __name__ == "__main__":
    log_to(sys.stderr, os.environ)
    sys.exit(main(Path(sys.argv[1])))
