"""The process that undoes what the guard has done when the guard cannot.

It has a session of its own, does nothing but write down (`journal`) what the guard is about to do,
and says so when it has. When its input ends, because the guard has closed it or because the guard
was killed, it takes everything back, the last first, and ends. When it is the undoer that dies, the
guard sees the connection end, and undoes everything itself.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

from router.platform.linux.journal import Entry, Journal, as_line
from router.platform.linux.runtime import remove_runtime_directory
from router.platform.linux.undo import undo

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
        return status == 0 or _undo_all(self._entries, self._journal)


def _undo_all(entries: list[Entry], path: Path) -> bool:
    """What could not be undone is left to be found."""
    done = undo(entries)
    if done:
        path.unlink(missing_ok=True)
        remove_runtime_directory(path.parent)
    return done


def main(path: Path) -> int:
    """Write down until the input ends, then undo; the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    journal = Journal.begin(path)
    with os.fdopen(CONNECTION, "rb", buffering=0) as lines:
        for line in lines:
            if line.endswith(b"\n"):
                journal.write(line)
                os.write(CONNECTION, WRITTEN)
        done = _undo_all(journal.entries(), path)
    journal.close()
    return 0 if done else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
