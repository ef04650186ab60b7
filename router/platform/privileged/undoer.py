"""The process that undoes the guard's changes when the guard cannot.

It has a session of its own. It records (`journal`) each change that the guard announces, and
replies whether it could. When its input ends, because the guard closed it or was killed, it undoes
everything, the last change first, and ends. It does so too when the router has ended and the guard
has not closed its input after a while. When the undoer itself is killed, the guard sees the
connection end and undoes everything.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from struct import Struct
from typing import Final

from router.platform.base.descriptors import HasFileno
from router.platform.base.errors import PlatformError
from router.platform.log import log_to
from router.platform.privileged.journal import SUFFIX, Journal
from router.platform.privileged.runtime import TRIES, RuntimeDirectory, remove_runtime_directory
from router.platform.privileged.undoable import Entry, Undoable, Watched, as_line, undo_all
from router.platform.reason import reason

log = logging.getLogger(__name__)

EXIT_TIMEOUT: Final = 10.0
"""Seconds in which it has to end; it needs a fraction of one."""
REPLY_TIMEOUT: Final = 5.0
"""Seconds in which a change has to be recorded."""
GRACE: Final = 5.0
"""Seconds that the guard has after the router's end to finish what it is doing."""
STATUS: Final = Struct("=i")
"""The reply to each line: 0 when it is recorded, else an errno number."""
CONNECTION: Final = 0
"""The descriptor that it inherits."""


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
            _close_journal(journal, [])
            raise

    def _undo_instead(self) -> bool:
        """In this process; whether everything could be undone."""
        undone = undo_all(self._system, self._entries)
        not_made = [entry for entry in self._announced if entry not in self._entries]
        is_updated = _close_journal(self._journal, [*undone, *not_made])
        return is_updated and len(undone) == len(self._entries)


def _close_journal(journal: Journal, undone: list[Entry]) -> bool:
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
    is_updated = _close_journal(journal, undone)
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
