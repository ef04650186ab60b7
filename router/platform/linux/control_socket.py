"""The control socket of a running router: a Unix socket, one for each TUN.

    /run/tunrouter/net-4026531840/tun11.sock

Always true: only root can connect, from the moment at which the socket exists. Under its final name
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
from router.platform.linux.entries import socket_entry
from router.platform.linux.runtime import (
    SOCKET_SUFFIX,
    make_runtime_directory,
    remedy,
    runtime_directory,
)
from router.platform.privileged.undoer import Undoer

BACKLOG: Final = 8


def control_sockets() -> dict[str, Path]:
    """By the name of the TUN, the sockets of the routers in this network namespace; of routers that
    were killed too, until `cleanup` removes them."""
    paths = sorted(runtime_directory().glob("*" + SOCKET_SUFFIX))
    return {path.name.removesuffix(SOCKET_SUFFIX): path for path in paths}


def control_socket(tun: str, undoer: Undoer) -> socket.socket:
    """A listening socket, non-blocking, for the router of a TUN. Raises PlatformError."""
    path = runtime_directory() / (tun + SOCKET_SUFFIX)
    try:
        make_runtime_directory()
        return _make(path, undoer)
    except OSError as error:
        raise PlatformError(
            f"no control socket can be made at {path}: {error.strerror}: {remedy(error)}"
        ) from error


def _make(path: Path, undoer: Undoer) -> socket.socket:
    """Under another name first, so that under its final name it always has a listener."""
    _check_no_listener(path)
    first_name = path.with_name(f"{path.name}.{os.getpid()}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        os.fchmod(sock.fileno(), 0o600)  # what bind() gives the file, see unix_bind_bsd()
        undoer.record(socket_entry(str(first_name)))
        first_name.unlink(missing_ok=True)
        sock.bind(str(first_name))
        sock.listen(BACKLOG)
        undoer.record(socket_entry(str(path), first_name.stat().st_ino))
        first_name.rename(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _check_no_listener(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        error = probe.connect_ex(str(path))
    if error not in (errno.ECONNREFUSED, errno.ENOENT):
        raise PlatformError(f"another router answers at {path}: end it, or choose another tun name")
