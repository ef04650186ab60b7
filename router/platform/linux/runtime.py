"""The directory of a running router's files: /run/tunrouter.

    /run/tunrouter/net-4026531840/tun11.undo

Always true: each network namespace has a directory of its own, named by its number (namespaces(7)),
so two routers in different namespaces never meet, though their TUNs have the same name. Which
namespace is the system's initial one cannot be read without more privileges than the router needs.

The kernel uses a number again when its namespace is gone. So a journal names its namespace by the
cookie (SO_NETNS_COOKIE, from Linux 5.14 on), which is never used again until the next boot, and by
the boot, since not every system empties /run then.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
import sys
from pathlib import Path
from typing import Final

from router.platform.base.errors import PlatformError
from router.platform.privileged.runtime import remove_runtime_directory
from router.platform.reason import REMEDIES

RUN: Final = Path("/run/tunrouter")
NAMESPACE: Final = Path("/proc/self/ns/net")
BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
SO_NETNS_COOKIE: Final = 71
"""asm-generic/socket.h: 8 bytes."""
SOCKET_SUFFIX: Final = ".sock"
"""Of the control sockets in it."""
FULL: Final = "`df /run` and `df -i /run` say whether it is full"
TRIES: Final = 10
"""Another router that ends may remove the directory between two steps."""


def runtime_directory() -> Path:
    """That of the present network namespace; it need not exist."""
    return RUN / f"net-{NAMESPACE.stat().st_ino}"


def namespace_identity() -> str:
    """Of the present network namespace; unique, on a kernel that has cookies. Raises OSError."""
    boot = BOOT.read_text().strip()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            cookie = sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise
            return f"{boot}/net-{NAMESPACE.stat().st_ino}"
    return f"{boot}/{int.from_bytes(cookie, sys.byteorder)}"


def make_runtime_directory() -> Path:
    """Readable by every user. The last router to end removes it. Raises OSError, PlatformError."""
    directory = runtime_directory()
    for _ in range(TRIES):
        try:
            for each in (RUN, directory):
                _make(each)
        except FileNotFoundError:
            continue
        except OSError:
            remove_runtime_directory(directory)
            raise
        return directory
    raise FileNotFoundError(errno.ENOENT, "another program keeps removing it", str(directory))


def remedy(error: OSError) -> str:
    """For an error of making a file there."""
    return FULL if error.errno == errno.ENOSPC else REMEDIES.get(error.errno or 0, FULL)


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
