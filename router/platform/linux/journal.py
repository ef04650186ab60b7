"""What a run has written down to be undone, in a file that outlives its processes.

    /run/tunrouter/tun11.undo    one JSON line for each deed, oldest first

Always true: a deed stands in the file before it is done. As long as somebody would undo it, the
file is locked by him; a file without a lock is what was left when every process was killed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

SUFFIX: Final = ".undo"
FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC

Entry = dict[str, Any]


class Journal:
    """An open and locked file."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def begin(cls, path: Path) -> Journal:
        """An empty one. A run that has just ended and has the same name is waited for.

        Raises OSError.
        """
        while True:
            descriptor = os.open(path, FLAGS | os.O_CREAT, 0o600)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_there(descriptor):
                return cls(path, descriptor)
            os.close(descriptor)

    @classmethod
    def take_up(cls, path: Path) -> Journal | None:
        """One that nobody has locked; None if there is none. Raises OSError."""
        try:
            descriptor = os.open(path, FLAGS)
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

    def write(self, line: bytes) -> None:
        """Raises OSError."""
        os.write(self._descriptor, line)

    def entries(self) -> list[Entry]:
        return list(entries_in(self.path.read_bytes().splitlines(keepends=True)))

    def remove(self) -> None:
        """Delete the file and let go of it."""
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)

    def close(self) -> None:
        """Let go of the file, and leave it to be found."""
        os.close(self._descriptor)


def as_line(entry: Entry) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def entries_in(lines: Iterable[bytes]) -> Iterator[Entry]:
    """What was written down. A line cut off is a deed that was never done: whoever wrote it was
    killed meanwhile."""
    for line in lines:
        if line.endswith(b"\n"):
            yield json.loads(line)


def left_behind(directory: Path) -> Iterator[Journal]:
    """Those of runs all of whose processes were killed. Raises OSError."""
    for path in sorted(directory.glob("*" + SUFFIX)):
        journal = Journal.take_up(path)
        if journal is not None:
            yield journal


def _is_there(descriptor: int) -> bool:
    """Whether nobody has deleted the file while its lock was waited for."""
    return os.fstat(descriptor).st_nlink > 0
