"""The directory of a running router's files, as far as it is the same on every system.

Always true: only root can write there, and every user can read it; the last router to end removes
it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from router.platform.base.errors import PlatformError
from router.platform.reason import REMEDIES

NAME: Final = "tunrouter"
SOCKET_SUFFIX: Final = ".sock"
"""Of the control sockets in it."""
TRIES: Final = 10
"""Another router that ends may remove the directory between two steps."""


class RuntimeDirectory(NamedTuple):
    """directories: it, and before it those that it is in and the router makes too. full: what says
    whether its file system is. group: whose processes may connect to control sockets as well as
    root; None: of none."""

    directories: Callable[[], Sequence[Path]]
    full: str
    group: int | None = None

    def path(self) -> Path:
        """It need not exist."""
        return self.directories()[-1]

    def make(self) -> Path:
        """Readable by every user. Raises OSError, PlatformError."""
        directories = self.directories()
        for _ in range(TRIES):
            try:
                for each in directories:
                    _make(each)
            except FileNotFoundError:
                continue
            except OSError:
                remove_runtime_directory(directories[-1])
                raise
            return directories[-1]
        raise FileNotFoundError(
            errno.ENOENT, "another program keeps removing it", str(directories[-1])
        )

    def remedy(self, error: OSError) -> str:
        """For an error of making a file there."""
        return (
            self.full if error.errno == errno.ENOSPC else REMEDIES.get(error.errno or 0, self.full)
        )

    def sockets(self) -> dict[str, Path]:
        """By the name of the TUN, the control sockets of routers; of routers that were killed too,
        until `cleanup` removes them."""
        paths = sorted(self.path().glob("*" + SOCKET_SUFFIX))
        return {path.name.removesuffix(SOCKET_SUFFIX): path for path in paths}


def remove_runtime_directory(directory: Path) -> None:
    """If it is empty, and then the router's one that it is in, if that is."""
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileNotFoundError):
            directory.rmdir()
        if directory.parent.name == NAME:
            directory.parent.rmdir()


def _make(path: Path) -> None:
    with contextlib.suppress(FileExistsError):
        path.mkdir()
        path.chmod(0o755)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PlatformError(
            f"{path} is not a directory that only root can write to: another program has made it; "
            "remove it, and start the router again"
        )
