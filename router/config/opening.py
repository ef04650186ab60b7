"""Opening the files that rules are read from, so that no open waits, and nobody but those whom root
may take orders from decides what root reads (trust).

Always true: what is open is a regular file, or a pipe that the caller of the program has handed
over. A reader with the rights of root gets nothing of a file with a fault; another gets it, with
the faults that `run` would find.

Must not know: what stands in the files.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Final

from router.config.trust import (
    READ,
    Fault,
    Followed,
    Reader,
    check_regular,
    follow,
)

HANDED_OVER: Final = re.compile(r"(?:/dev|/proc/self)/fd/(\d{1,9})")
"""The paths of descriptors that were open when the program started; `<(…)` of shells is one."""


class UntrustedError(Exception):
    """Root may not read a file."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__(faults[0].what)
        self.faults = faults


class ChangedError(Exception):
    """A file was written to while it was read."""


class OpenFile:
    """A file that is open for reading.

    `found` is what fstat() gave at first; `by_user`: whether what stands in it may have been chosen
    by a user other than root.
    """

    def __init__(self, followed: Followed) -> None:
        self.raw: BufferedReader = os.fdopen(followed.descriptor, "rb")
        self.found = os.fstat(followed.descriptor)
        self.faults = followed.faults
        self.by_user = followed.by_user

    def check_unchanged(self) -> None:
        """Raises ChangedError, and OSError."""
        now = os.fstat(self.raw.fileno())
        if (now.st_size, now.st_mtime_ns) != (self.found.st_size, self.found.st_mtime_ns):
            raise ChangedError


class Opener:
    """`reader` None: whose the files are does not matter."""

    def __init__(self, reader: Reader | None = None) -> None:
        self._reader = reader

    @contextmanager
    def open(self, path: Path, *, named_by_user: bool = False) -> Iterator[OpenFile]:
        """`named_by_user`: see follow.

        Raises OSError, ValueError for what can be no path, NotRegularError and UntrustedError.
        """
        opened = OpenFile(self._follow(path, named_by_user=named_by_user))
        with opened.raw:
            yield opened

    def open_pipe(self, path: Path) -> BufferedReader | None:
        """A pipe that the caller of the program has handed over, if the path is that of one."""
        number = descriptor_of(path)
        if number is None or not stat.S_ISFIFO(os.fstat(number).st_mode):
            return None
        return os.fdopen(os.dup(number), "rb")

    def _follow(self, path: Path, *, named_by_user: bool) -> Followed:
        if self._reader is None:
            return Followed(open_regular(path), (), by_user=False)
        try:
            followed = follow(os.fspath(path), self._reader, named_by_user=named_by_user)
        except OSError:
            if self._reader.is_root:
                raise
            # A directory above the working directory may be closed to us.
            return Followed(open_regular(path), (), by_user=True)
        if followed.faults and self._reader.is_root:
            os.close(followed.descriptor)
            raise UntrustedError(followed.faults)
        return followed


def descriptor_of(path: Path) -> int | None:
    """The descriptor that a path stands for. Raises nothing for one that is not open."""
    text = os.fspath(path)
    named = HANDED_OVER.fullmatch("/dev/fd/0" if text == "/dev/stdin" else text)
    return int(named[1]) if named else None


def open_regular(path: Path) -> int:
    """The descriptor. Raises OSError, ValueError, NotRegularError."""
    check_regular(path.stat())  # before it is opened, which may do something to a device
    descriptor = os.open(path, READ)
    try:
        check_regular(os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
