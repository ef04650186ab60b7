"""The process that undoes what the guard has done when the guard cannot.

It has a session of its own, does nothing but write down (`journal`) what the guard is about to do,
and says so when it has, or why it cannot. When its input ends, because the guard has closed it or
because the guard was killed, it takes everything back, the last first, and ends. When it is the
undoer that dies, the guard sees the connection end, and undoes everything itself.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from struct import Struct
from typing import Final

from router.platform.linux.entries import Entry, as_line, understood
from router.platform.linux.journal import Journal
from router.platform.linux.runtime import remove_runtime_directory
from router.platform.linux.undo import undo_all
from router.platform.log import log_to
from router.platform.reason import reason

log = logging.getLogger(__name__)

PATIENCE: Final = 10.0
"""Seconds to wait for it at the end; it needs a fraction of one."""
ANSWER: Final = 5.0
"""Seconds to wait until something is written down."""
STATUS: Final = Struct("=i")
"""The answer to each line: 0 when it is written down, or the errno number that says why not."""
CONNECTION: Final = 0
"""The descriptor that it is born with."""


class Undoer:
    """The guard's end: `record` before the deed, `close` when all is to be undone.

    Its descriptor becomes readable when the process at the other end is gone. The journal's lock is
    shared with that, so that it is held until nobody is left who would undo.
    """

    def __init__(self, path: Path) -> None:
        """path: of the journal, in a directory that there is. Raises OSError, PlatformError."""
        self._entries: list[Entry] = []
        try:
            self._connection, theirs = socket.socketpair()
        except OSError:
            remove_runtime_directory(path.parent)
            raise
        self._connection.settimeout(ANSWER)
        with theirs:
            self._journal = self._begin(path)
            self._process = self._start(theirs)

    def fileno(self) -> int:
        return self._connection.fileno()

    def record(self, entry: Entry) -> None:
        """Have written down how to undo what is about to be done; once is enough for what is done
        again.

        Raises OSError if nobody would undo it, or if it cannot be written down.
        """
        if entry in self._entries:
            return
        try:
            self._connection.sendall(as_line(entry))
            answer = self._connection.recv(STATUS.size)
        except TimeoutError as error:
            self._connection.shutdown(socket.SHUT_RDWR)  # as good as gone
            pid = self._process.pid
            raise TimeoutError(f"the process that would undo it (pid {pid}) hangs") from error
        if len(answer) < STATUS.size:
            raise ConnectionResetError("the process that would undo it is gone")
        (number,) = STATUS.unpack(answer)
        if number:
            raise OSError(number, os.strerror(number), str(self._journal.path))
        self._entries.append(entry)

    def close(self) -> bool:
        """Undo everything; whether that has worked."""
        self._connection.close()
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        if status != 0:
            return self._undo_instead()
        self._journal.close()
        return True

    def _begin(self, path: Path) -> Journal:
        try:
            return Journal.begin(path)
        except BaseException:
            self._connection.close()
            remove_runtime_directory(path.parent)
            raise

    def _start(self, connection: socket.socket) -> subprocess.Popen[bytes]:
        journal = self._journal
        try:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    __spec__.name,
                    str(journal.path),
                    f"{journal.fileno()}",
                ],
                stdin=connection.fileno(),
                pass_fds=[journal.fileno()],
                start_new_session=True,
            )
        except OSError:
            self._connection.close()
            _strike_out(journal, [])
            raise

    def _undo_instead(self) -> bool:
        """What the process at the other end cannot; whether all of it could be undone."""
        undone = undo_all(self._entries)
        return _strike_out(self._journal, undone) and len(undone) == len(self._entries)


def _strike_out(journal: Journal, undone: list[Entry]) -> bool:
    """What could not be undone is left to be found; whether the rest is struck out."""
    try:
        journal.strike_out(undone)
    except OSError as error:
        log.error("what is undone cannot be struck out: %s", reason(error))  # noqa: TRY400 - for people
        return False
    finally:
        journal.close()
    remove_runtime_directory(journal.path.parent)
    return True


def main(journal: Journal) -> int:
    """Write down until the input ends, then undo; the exit status."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    entries: list[Entry] = []
    status = 0
    try:
        _write_down(journal, entries)
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else error
        log.error("what a run does cannot be written down: %s", why)  # noqa: TRY400 - for people
        status = 1
    undone = undo_all(entries)
    is_struck_out = _strike_out(journal, undone)
    return status if is_struck_out and len(undone) == len(entries) else 1


def _write_down(journal: Journal, entries: list[Entry]) -> None:
    """Each line of the input, until it ends. Raises OSError; ValueError for what could not be
    undone."""
    with os.fdopen(CONNECTION, "rb", buffering=0) as lines:
        for line in lines:
            if line.endswith(b"\n"):
                entry = understood(line, journal.path.parent)
                number = _written(journal, entry)
                if number == 0:
                    entries.append(entry)
                with contextlib.suppress(BrokenPipeError):  # the input ends then as well
                    os.write(CONNECTION, STATUS.pack(number))


def _written(journal: Journal, entry: Entry) -> int:
    """See STATUS."""
    try:
        journal.write(entry)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


if __name__ == "__main__":
    log_to(sys.stderr, os.environ)
    sys.exit(main(Journal(Path(sys.argv[1]), int(sys.argv[2]))))
