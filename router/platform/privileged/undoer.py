"""The guard's end of the process that undoes its changes when it cannot (`recording`).

Each change is announced to the process before it is made. When the process is killed, the guard
sees the connection end and undoes everything.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Final

from router.platform.base.errors import PlatformError
from router.platform.privileged.journal import SUFFIX, Journal
from router.platform.privileged.recording import STATUS, close_journal
from router.platform.privileged.runtime import TRIES, RuntimeDirectory, remove_runtime_directory
from router.platform.privileged.undoable import Entry, Undoable, Watched, as_line, undo_all
from router.platform.reason import reason

EXIT_TIMEOUT: Final = 10.0
"""Seconds in which it has to end; it needs a fraction of one."""
REPLY_TIMEOUT: Final = 5.0
"""Seconds in which a change has to be recorded."""


def start_undoer(
    system: Undoable, runtime: RuntimeDirectory, tun: str, router: Watched | None = None
) -> Undoer:
    """Of the router of a TUN. A former run that ends may remove the directory before the file is
    in it. Raises PlatformError."""
    try:
        for _ in range(TRIES):
            with contextlib.suppress(FileNotFoundError):
                return Undoer(system, runtime.make() / (tun + SUFFIX), router)
        return Undoer(system, runtime.make() / (tun + SUFFIX), router)
    except OSError as error:
        why = f"{reason(error)}: {runtime.remedy(error)}"
        raise PlatformError(f"the journal of changes to undo cannot be written: {why}") from error


class Undoer:
    """The guard's end: `record` before each change, `close` to undo them all.

    Its descriptor becomes readable when the undoer's process is gone. Both share the journal's
    lock, so it is held as long as either can undo.
    """

    def __init__(self, system: Undoable, path: Path, router: Watched | None = None) -> None:
        """system: whose changes they are. path: of the journal, in an existing directory. router:
        whose end it is to notice. Raises OSError, PlatformError."""
        self._system = system
        self._router = router
        self._entries: list[Entry] = []
        # Whose record failed, or was not confirmed: they may be in the file, and were not made.
        self._announced: list[Entry] = []
        try:
            self._connection, theirs = socket.socketpair()
        except OSError:
            remove_runtime_directory(path.parent)
            raise
        self._connection.settimeout(REPLY_TIMEOUT)
        with theirs:
            self._journal = self._begin(path)
            self._process = self._start(theirs)

    def fileno(self) -> int:
        return self._connection.fileno()

    def record(self, entry: Entry) -> None:
        """Have a change recorded before it is made. A repeated change is recorded once.

        Raises OSError if the undoer is gone or does not reply, or if it cannot write.
        """
        if entry in self._entries:
            return
        self._announced.append(entry)
        try:
            self._connection.sendall(as_line(entry))
            reply = self._connection.recv(STATUS.size)
        except TimeoutError as error:
            self._connection.shutdown(socket.SHUT_RDWR)
            pid = self._process.pid
            why = f"the undoer (pid {pid}) does not reply"
            raise TimeoutError(errno.ETIMEDOUT, why) from error
        if len(reply) < STATUS.size:
            raise ConnectionResetError(errno.ECONNRESET, "the undoer has ended")
        (number,) = STATUS.unpack(reply)
        if number:
            raise OSError(number, os.strerror(number), str(self._journal.path))
        self._entries.append(self._announced.pop())

    def close(self) -> bool:
        """Undo everything; whether that has succeeded."""
        self._connection.close()
        try:
            status = self._process.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        if status != 0:
            return self._undo_instead()
        self._journal.close()
        return True

    def _begin(self, path: Path) -> Journal:
        try:
            return Journal.create(self._system, path)
        except BaseException:
            self._connection.close()
            remove_runtime_directory(path.parent)
            raise

    def _start(self, connection: socket.socket) -> subprocess.Popen[bytes]:
        journal = self._journal
        router = self._router
        words, inherited = ([], []) if router is None else ([router.words], router.inherited)
        try:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-m",
                    self._system.program,
                    str(journal.path),
                    f"{journal.fileno()}",
                    *words,
                ],
                stdin=connection.fileno(),
                pass_fds=[journal.fileno(), *inherited],
                start_new_session=True,
            )
        except OSError:
            self._connection.close()
            close_journal(journal, [])
            raise

    def _undo_instead(self) -> bool:
        """In this process; whether everything could be undone."""
        undone = undo_all(self._system, self._entries)
        not_made = [entry for entry in self._announced if entry not in self._entries]
        is_updated = close_journal(self._journal, [*undone, *not_made])
        return is_updated and len(undone) == len(self._entries)
