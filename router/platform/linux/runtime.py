"""Where what a router keeps while it runs is found by others: /run/tunrouter.

    /run/tunrouter/net-4026531840/tun11.undo

Always true: two routers whose TUNs have the same name in different network namespaces never meet:
each namespace has a directory of its own, named by its number (namespaces(7)). Which of them is the
system's own cannot be asked without more privileges than the router needs.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

from router.platform.base import PlatformError

RUN: Final = Path("/run/tunrouter")
NAMESPACE: Final = Path("/proc/self/ns/net")
SOCKET_SUFFIX: Final = ".sock"
"""Of the control sockets in it."""
FULL: Final = "`df /run` and `df -i /run` say whether it is full"
TOO_MANY: Final = "raise `ulimit -n`"
TRIES: Final = 10
"""Another router that ends may remove a directory between two steps of ours."""


def runtime_directory() -> Path:
    """That of the present network namespace; it need not exist."""
    return RUN / f"net-{NAMESPACE.stat().st_ino}"


def make_runtime_directory() -> Path:
    """For everybody to look into. The last router to end removes it. Raises OSError,
    PlatformError."""
    directory = runtime_directory()
    for _ in range(TRIES):
        try:
            for each in (RUN, directory):
                _have(each)
        except FileNotFoundError:
            continue
        except OSError:
            remove_runtime_directory(directory)
            raise
        return directory
    raise FileNotFoundError(errno.ENOENT, "another program keeps removing it", str(directory))


def remedy(error: OSError) -> str:
    """What to do about something that cannot be made there, for people."""
    return TOO_MANY if error.errno in (errno.EMFILE, errno.ENFILE) else FULL


def _have(path: Path) -> None:
    with contextlib.suppress(FileExistsError):
        path.mkdir()
        path.chmod(0o755)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PlatformError(
            f"{path} is not a directory that only root can write to: another program has made it; "
            "remove it, and start the router again"
        )


def remove_runtime_directory(directory: Path) -> None:
    """As far as nobody else has something in it."""
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileNotFoundError):
            directory.rmdir()
        directory.parent.rmdir()
