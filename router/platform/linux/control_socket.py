"""Where a running router is asked: a Unix socket in /run/tunrouter, one for each TUN.

TUNs of the same name may exist in several network namespaces, while /run is mostly shared: a router
in another namespace than the first process of the system has a directory of its own beneath.

Always true: only root can connect, from the moment at which the socket exists; under its final name
it has been listening from the beginning, so one that refuses is a dead router's and is replaced,
and one that does not is never touched; what is made here is written down before, and removed
however the router ends.

Must not know: what is asked.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path
from typing import Final

from router.platform.base import PlatformError
from router.platform.linux.undo import Undoer, directory_entry, socket_entry

RUN: Final = Path("/run/tunrouter")
SUFFIX: Final = ".sock"
BACKLOG: Final = 8
TRIES: Final = 10
"""Another router that ends may remove the directory between two steps of ours."""

OWN_NAMESPACE: Final = Path("/proc/self/ns/net")
FIRST_NAMESPACE: Final = Path("/proc/1/ns/net")


def control_sockets() -> dict[str, Path]:
    """By the name of the TUN, the sockets of the routers in this network namespace; of those that
    were killed too, as long as nobody has cleaned up."""
    paths = sorted(directory().glob("*" + SUFFIX))
    return {path.name.removesuffix(SUFFIX): path for path in paths}


def control_socket(tun: str, undoer: Undoer) -> socket.socket:
    """A listening socket, non-blocking, for the router of a TUN. Raises PlatformError."""
    try:
        for _ in range(TRIES):
            try:
                return _make(directory() / (tun + SUFFIX), undoer)
            except FileNotFoundError:
                continue
        raise FileNotFoundError(errno.ENOENT, "another program keeps removing the directory")
    except OSError as error:
        raise PlatformError(
            f"no control socket can be made in {directory()}: {error.strerror}"
        ) from error


def directory() -> Path:
    """That of the present network namespace.

    An unprivileged program may not see which namespace is the first one's. For it, it is ours
    unless there is a directory for ours.
    """
    own = OWN_NAMESPACE.stat().st_ino
    apart = RUN / f"net-{own}"
    try:
        return RUN if FIRST_NAMESPACE.stat().st_ino == own else apart
    except OSError:
        return apart if apart.exists() else RUN


def _make(path: Path, undoer: Undoer) -> socket.socket:
    """Under another name first, so that nobody ever finds it without a listener."""
    for each in (RUN, path.parent):
        _have_directory(each, undoer)
    _refuse_living(path)
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


def _have_directory(path: Path, undoer: Undoer) -> None:
    """Root's, for everybody to look into. The last router to end removes it."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        undoer.record(directory_entry(str(path)))
        path.mkdir()
        path.chmod(0o755)
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PlatformError(
            f"{path} is not a directory that only root can write to: another program has made it; "
            "remove it, and start the router again"
        )
    undoer.record(directory_entry(str(path)))


def _refuse_living(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as probe:
        error = probe.connect_ex(str(path))
    if error not in (errno.ECONNREFUSED, errno.ENOENT):
        raise PlatformError(f"another router answers at {path}: end it, or choose another tun name")
