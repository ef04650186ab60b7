"""The control socket of a running router: a Unix socket in its runtime directory, one for each
TUN.

Always true: only root can connect, and the group of the runtime directory, from the moment at which
the socket exists. Under its final name
it listens from the beginning, so one that refuses belongs to a router that was killed and is
replaced, and one that accepts is never touched. It is recorded before it is made, and removed
however the router ends.

Must not know: what is requested by it.
"""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Final

from router.platform.base.errors import PlatformError
from router.platform.privileged.runtime import SOCKET_SUFFIX, RuntimeDirectory
from router.platform.privileged.socket_files import socket_entry
from router.platform.privileged.undoer import Undoer

BACKLOG: Final = 8


def control_socket(runtime: RuntimeDirectory, tun: str, undoer: Undoer) -> socket.socket:
    """A listening socket, non-blocking, for the router of a TUN. Raises PlatformError."""
    path = runtime.path() / (tun + SOCKET_SUFFIX)
    try:
        runtime.make()
        return _make(path, undoer, runtime.group)
    except OSError as error:
        raise PlatformError(
            f"no control socket can be made at {path}: {error.strerror}: {runtime.remedy(error)}"
        ) from error


def _make(path: Path, undoer: Undoer, group: int | None) -> socket.socket:
    """Under another name first, so that under its final name it always has a listener."""
    _check_no_listener(path)
    first_name = path.with_name(f"{path.name}.{os.getpid()}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        undoer.record(socket_entry(str(first_name)))
        first_name.unlink(missing_ok=True)
        _bind(sock, first_name)
        if group is not None:
            os.chown(first_name, -1, group)
            first_name.chmod(0o660)
        sock.listen(BACKLOG)
        undoer.record(socket_entry(str(path), first_name.stat().st_ino))
        first_name.rename(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, path: Path) -> None:
    """Its file has the mode of the socket, as far as the mask of the process lets it (Linux:
    unix_bind_bsd; macOS: unp_bind, where a socket itself has none). This process has one thread."""
    former = os.umask(0o177)
    try:
        sock.bind(str(path))
    finally:
        os.umask(former)


def _check_no_listener(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        error = probe.connect_ex(str(path))
    if error not in (errno.ECONNREFUSED, errno.ENOENT):
        raise PlatformError(f"another router answers at {path}: end it, or choose another tun name")
