"""The journal of the changes that a run makes, in a file that outlives its processes.

    /run/tunrouter/net-4026531840/tun11.undo

One JSON line names the network (Undoable.network; on Linux it is called namespace); then each
change has a line, oldest first.

Always true: a change is in the file before it is made. The file is locked as long as a process can
undo the changes, by one lock that the guard and the undoer share; a file without a lock is left of
a run in which both were killed. A change that is undone is removed. One that cannot be undone, or
read, stays until a person deletes it, through later runs of the same name too. A change made in
another network, gone meanwhile, is never taken for one made in this network.

Must not know: which changes there are, and how they are undone.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final, NamedTuple

from router.platform.base.errors import PlatformError
from router.platform.privileged.undoable import Entry, Undoable, as_line

SUFFIX: Final = ".undo"
FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
LOCK_TIMEOUT: Final = 5.0
"""Seconds in which a former run of the same name has to end; it needs a fraction of one."""
POLL: Final = 0.01


class Line(NamedTuple):
    """One line of a journal. place: `FILE:NUMBER`, from 1.

    Either an entry, or the fault of the line. is_elsewhere: the change was made in a network that
    is gone, not in the present one."""

    place: str
    entry: Entry | None
    fault: str = ""
    is_elsewhere: bool = False


class Journal:
    """An open and locked file. system: whose changes it holds."""

    def __init__(self, system: Undoable, path: Path, descriptor: int) -> None:
        self.path = path
        self._system = system
        self._descriptor = descriptor

    @classmethod
    def create(cls, system: Undoable, path: Path) -> Journal:
        """A journal of the present network. Waits for the end of a run that has the same
        name and is just ending.

        Raises OSError with its path, and PlatformError that names the process that does not end.
        """
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            journal = cls(system, path, os.open(path, FLAGS | os.O_CREAT, 0o600))
            try:
                _check_file(journal._descriptor, path)
                journal._wait_for_lock(deadline)
                if journal._is_begun():
                    return journal
            except (OSError, PlatformError):
                journal._delete_if_empty()
                journal.close()
                raise
            journal.close()

    @classmethod
    def adopt(cls, system: Undoable, path: Path) -> Journal | None:
        """A journal that no process has locked; None if there is none. Raises OSError."""
        try:
            descriptor = os.open(path, FLAGS)
        except FileNotFoundError:
            return None
        try:
            _check_file(descriptor, path)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _exists(descriptor):
                return cls(system, path, descriptor)
        except BlockingIOError:
            pass
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)
        return None

    def fileno(self) -> int:
        """A process that inherits it shares the lock."""
        return self._descriptor

    def write(self, entry: Entry) -> None:
        """Append an entry. Raises OSError, and then nothing is written."""
        content = self._content()
        self._put(as_line(entry), len(content))

    def lines(self) -> list[Line]:
        """All that are not removed. Raises OSError."""
        found = []
        about = here = (
            self._system.network()
        )  # another version may not write the line with the name
        for number, line in enumerate(self._content().splitlines(), start=1):
            name = _name(line)
            if name is not None:
                about = name
            elif line.strip():
                found.append(self._line(number, line)._replace(is_elsewhere=about != here))
        return found

    def remove_entries(self, undone: Collection[Entry]) -> None:
        """Empty the lines of the entries, so that the others keep their numbers; delete the file if
        nothing is left. Raises OSError."""
        if not _exists(self._descriptor):
            return  # and another run may have one under the same name
        removed = {as_line(entry).rstrip() for entry in undone}
        content = self._content()
        left = [b"" if line in removed else line for line in content.splitlines()]
        if any(line.strip() and _name(line) is None for line in left):
            self._put(b"\n".join(left).rstrip() + b"\n", 0, content)
        else:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Release the lock, unless another process shares it."""
        os.close(self._descriptor)

    def _line(self, number: int, line: bytes) -> Line:
        place = f"{self.path}:{number}"
        try:
            return Line(place, self._system.parse_entry(line, self.path.parent))
        except ValueError as error:
            return Line(place, None, str(error))

    def _content(self) -> bytes:
        """Its complete lines. An incomplete one is of a change that was never made: its writer was
        killed."""
        content = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        return content[: content.rfind(b"\n") + 1]

    def _put(self, lines: bytes, offset: int, before: bytes = b"") -> None:
        """Write lines at an offset, and end the file there. before: the complete lines that stand
        there, which are put back when that fails. Raises OSError with the path."""
        try:
            is_whole = os.pwrite(self._descriptor, lines, offset) == len(lines)
            if is_whole:
                os.ftruncate(self._descriptor, offset + len(lines))
        except OSError as error:
            self._put_back(before, offset)
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        if not is_whole:
            self._put_back(before, offset)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def _put_back(self, lines: bytes, offset: int) -> None:
        with contextlib.suppress(OSError):
            os.pwrite(self._descriptor, lines, offset)
            os.ftruncate(self._descriptor, offset + len(lines))

    def _is_begun(self) -> bool:
        """Write the line that names the network, if the file still has a name. A full file system
        makes this fail at once, and not in the middle of a start; no file without an entry is left
        then. Raises OSError."""
        try:
            if not _exists(self._descriptor):
                return False
            content = self._content()
            here = self._system.network()
            if _names(content)[-1:] != [here]:
                self._put(json.dumps({"namespace": here}).encode() + b"\n", len(content))
        except OSError:
            with contextlib.suppress(OSError):
                self.remove_entries(())
            raise
        return True

    def _delete_if_empty(self) -> None:
        """Of a journal that cannot be begun, unless another process has it locked."""
        with contextlib.suppress(OSError):
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            found = os.fstat(self._descriptor)
            if stat.S_ISREG(found.st_mode) and found.st_nlink and not found.st_size:
                self.path.unlink(missing_ok=True)

    def _wait_for_lock(self, deadline: float) -> None:
        """Until `deadline`, in seconds of the monotonic clock. Raises OSError, PlatformError."""
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PlatformError(self._lock_conflict()) from None
                time.sleep(POLL)
            else:
                return

    def _lock_conflict(self) -> str:
        holder = self._system.lock_holder(self._descriptor)
        if holder is None:
            return f"{self.path} is locked: find the process (fuser -v {self.path}), and end it"
        return (
            f"a former run has not ended: pid {holder.pid}, {holder.program}, still has "
            f"{self.path} locked; end it (sudo kill -KILL {holder.pid}), and start the "
            "router again, which undoes what is left"
        )


def _check_file(descriptor: int, path: Path) -> None:
    """Raises OSError where it is something else."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "is not a file", str(path))


def _name(line: bytes) -> str | None:
    """Of the network of the next lines, if this is a line that names one."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    name = value.get("namespace") if isinstance(value, dict) and len(value) == 1 else None
    return name if isinstance(name, str) else None


def _names(content: bytes) -> list[str]:
    return [name for name in map(_name, content.splitlines()) if name is not None]


def _exists(descriptor: int) -> bool:
    """Whether the file still has a name: it may be deleted while its lock is waited for."""
    return os.fstat(descriptor).st_nlink > 0
