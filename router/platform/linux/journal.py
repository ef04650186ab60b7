"""What a run has written down to be undone, in a file that outlives its processes.

    /run/tunrouter/net-4026531840/tun11.undo

One JSON line says in which network namespace, then there is one for each deed, oldest first.

Always true: a deed stands in the file before it is done. As long as somebody would undo it, the
file is locked, by one lock that the guard and the undoer share; a file without a lock is what was
left when both were killed. What is undone is struck out; what nobody can undo, or nothing is made
of, stays where it stands until somebody deletes it, through later runs of the same name too. What
another namespace says, which had the same number and is gone, is never taken for what was done
here.
"""

from __future__ import annotations

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
from router.platform.linux.entries import Entry, as_line, understood
from router.platform.linux.holders import lock_holder
from router.platform.linux.runtime import namespace_identity

SUFFIX: Final = ".undo"
FLAGS: Final = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
PATIENCE: Final = 5.0
"""Seconds to wait for a former run of the same name: to undo takes a fraction of one."""
POLL: Final = 0.01


class Line(NamedTuple):
    """One line of a journal. place: `FILE:NUMBER`, from 1.

    Either an entry, or what is wrong with it. is_elsewhere: it is about a network namespace that is
    gone, not about the present one."""

    place: str
    entry: Entry | None
    fault: str = ""
    is_elsewhere: bool = False


class Journal:
    """An open and locked file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def begin(cls, path: Path) -> Journal:
        """One to write into, about the present network namespace. A run that has just ended and has
        the same name is waited for.

        Raises OSError with its path, and PlatformError that names who does not end.
        """
        deadline = time.monotonic() + PATIENCE
        while True:
            journal = cls(path, _open(path, FLAGS | os.O_CREAT))
            try:
                journal._wait_for_lock(deadline)
                if _is_there(journal.fileno()):
                    journal._head()
                    return journal
            except (OSError, PlatformError):
                journal.close()
                raise
            journal.close()

    @classmethod
    def take_up(cls, path: Path) -> Journal | None:
        """One that nobody has locked; None if there is none. Raises OSError."""
        try:
            descriptor = _open(path, FLAGS)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if _is_there(descriptor):
            return cls(path, descriptor)
        os.close(descriptor)
        return None

    def fileno(self) -> int:
        """Whoever inherits it has the lock too."""
        return self._descriptor

    def write(self, entry: Entry) -> None:
        """Behind what stands there. Raises OSError, and then it is not written."""
        content = self._content()
        self._put(as_line(entry), len(content))

    def lines(self) -> list[Line]:
        """What stands there and is not struck out. Raises OSError."""
        found = []
        about = here = namespace_identity()  # where no line says it: another version has written
        for number, line in enumerate(self._content().splitlines(), start=1):
            name = _name(line)
            if name is not None:
                about = name
            elif line.strip():
                found.append(self._line(number, line)._replace(is_elsewhere=about != here))
        return found

    def strike_out(self, undone: Collection[Entry]) -> None:
        """Leave the lines of what is undone empty, so that others keep their numbers; delete the
        file if nothing is left. Raises OSError."""
        if not _is_there(self._descriptor):
            return  # and another run may have one under the same name
        struck = {as_line(entry).rstrip() for entry in undone}
        lines = self._content().splitlines()
        kept = [b"" if line in struck else line for line in lines]
        if any(line.strip() and _name(line) is None for line in kept):
            self._put(b"\n".join(kept).rstrip() + b"\n", 0)
        else:
            self.path.unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)

    def _line(self, number: int, line: bytes) -> Line:
        place = f"{self.path}:{number}"
        try:
            return Line(place, understood(line, self.path.parent))
        except ValueError as error:
            return Line(place, None, str(error))

    def _content(self) -> bytes:
        """Its complete lines. One cut off is a deed that was never done: whoever wrote it was
        killed meanwhile."""
        content = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        return content[: content.rfind(b"\n") + 1]

    def _put(self, lines: bytes, offset: int) -> None:
        """As the end of the file."""
        try:
            is_whole = os.pwrite(self._descriptor, lines, offset) == len(lines)
            if is_whole:
                os.ftruncate(self._descriptor, offset + len(lines))
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        if not is_whole:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))

    def _head(self) -> None:
        """Say whose deeds follow. A file system that is full says so by it, at once and not in the
        middle of a start. Raises OSError."""
        content = self._content()
        try:
            here = namespace_identity()
            if _names(content)[-1:] != [here]:
                self._put(json.dumps({"namespace": here}).encode() + b"\n", len(content))
        except OSError:
            self.strike_out(())
            raise

    def _wait_for_lock(self, deadline: float) -> None:
        """Until a moment of the steady clock. Raises OSError, PlatformError."""
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise PlatformError(self._who_has_it()) from None
                time.sleep(POLL)
            else:
                return

    def _who_has_it(self) -> str:
        holder = lock_holder(self._descriptor)
        if holder is None:
            return f"{self.path} is locked: see who has it (fuser -v {self.path}), and end that"
        return (
            f"a former run has not ended: pid {holder.pid}, {holder.program}, still has "
            f"{self.path} locked; end it (sudo kill -KILL {holder.pid}), and start the "
            "router again, which undoes what is left"
        )


def _open(path: Path, flags: int) -> int:
    descriptor = os.open(path, flags, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "is not a file", str(path))


def _name(line: bytes) -> str | None:
    """Of the namespace that the next lines are about, if this is a line that says so."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    name = value.get("namespace") if isinstance(value, dict) and len(value) == 1 else None
    return name if isinstance(name, str) else None


def _names(content: bytes) -> list[str]:
    return [name for name in map(_name, content.splitlines()) if name is not None]


def _is_there(descriptor: int) -> bool:
    """Whether nobody has deleted the file while its lock was waited for."""
    return os.fstat(descriptor).st_nlink > 0
