"""What outlives the process, written down before it is done, and undone by whoever is left.

A route, an address or a device goes with the TUN's descriptor. A sysctl, a rule, a route by
somebody else's interface and a file do not. Before each of those the router writes one line to the
*undoer*, a small process with a session of its own that does nothing but read them. When its input
ends, because the router has closed it or because the router was killed, the undoer takes all of
them back, the last first, and ends. When it is the undoer that dies, the router sees the connection
end, stops, and undoes everything itself.

Always true: only what is exactly as we left it is undone; what somebody changed meanwhile is his.
"""

from __future__ import annotations

import errno
import json
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

SYSCTL: Final = Path("/proc/sys")
PATIENCE: Final = 10.0
"""Seconds to wait for the undoer at the end; it needs a fraction of one."""

GONE: Final = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV})
"""What the kernel says of a rule or route that is not there."""

IN_USE: Final = frozenset({errno.ENOTEMPTY, errno.EBUSY})
"""What it says of a directory that somebody else needs."""

Entry = dict[str, Any]


class Undoer:
    """The router's end: `record` before the deed, `close` when all is to be undone.

    Its descriptor becomes readable when the process at the other end is gone.
    """

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._connection, input_ = socket.socketpair()
        with input_:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "router.platform.linux.undo"],
                stdin=input_.fileno(),
                start_new_session=True,
            )

    def fileno(self) -> int:
        return self._connection.fileno()

    def record(self, entry: Entry) -> None:
        """Write down how to undo what is about to be done; once is enough for what is done again.

        Raises OSError if nobody would.
        """
        if entry in self._entries:
            return
        self._connection.sendall(json.dumps(entry).encode() + b"\n")
        self._entries.append(entry)

    def close(self) -> bool:
        """Undo everything; whether that has worked."""
        self._connection.close()
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        return status == 0 or undo(self._entries)


def sysctl_entry(path: str, before: str, ours: str) -> Entry:
    return {"undo": "sysctl", "path": path, "before": before, "ours": ours}


def rule_entry(**attributes: Any) -> Entry:
    return {"undo": "rule", "attributes": attributes}


def route_entry(**attributes: Any) -> Entry:
    return {"undo": "route", "attributes": attributes}


def socket_entry(path: str, inode: int | None = None) -> Entry:
    """A socket's file; with `inode` only that one, not another that has taken its place."""
    return {"undo": "socket", "path": path, "inode": inode}


def directory_entry(path: str) -> Entry:
    """A directory, unless something is in it."""
    return {"undo": "directory", "path": path}


def _restore_sysctl(entry: Entry) -> None:
    path = SYSCTL / entry["path"]
    if path.read_text().strip() == entry["ours"]:
        path.write_text(entry["before"])


def _delete_rule(entry: Entry) -> None:
    _netlink("rule", entry["attributes"])


def _delete_route(entry: Entry) -> None:
    _netlink("route", entry["attributes"])


def _remove_socket(entry: Entry) -> None:
    path = Path(entry["path"])
    found = path.lstat()
    if stat.S_ISSOCK(found.st_mode) and entry["inode"] in (None, found.st_ino):
        path.unlink()


def _remove_directory(entry: Entry) -> None:
    try:
        Path(entry["path"]).rmdir()
    except OSError as error:
        if error.errno not in IN_USE:
            raise


def _netlink(what: str, attributes: dict[str, Any]) -> None:
    """Delete a rule or route; it may be gone already, with the interface or by another hand."""
    from pyroute2 import IPRoute  # noqa: PLC0415 - the waiting process does without it
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    with IPRoute() as netlink:
        try:
            getattr(netlink, what)("del", **attributes)
        except NetlinkError as error:
            if error.code not in GONE:
                raise OSError(error.code, str(error)) from error


_UNDO: Final[dict[str, Callable[[Entry], None]]] = {
    "sysctl": _restore_sysctl,
    "rule": _delete_rule,
    "route": _delete_route,
    "socket": _remove_socket,
    "directory": _remove_directory,
}


def undo(entries: Iterable[Entry]) -> bool:
    """Undo, the last first; whether all of it could be."""
    done = True
    for entry in reversed(list(entries)):
        try:
            _UNDO[entry["undo"]](entry)
        except FileNotFoundError:
            continue  # the interface is gone, and its settings with it; or the file is
        except OSError as error:
            print(f"tunrouter: could not undo {entry}: {error}", file=sys.stderr)
            done = False
    return done


def entries_in(lines: Iterable[bytes]) -> Iterable[Entry]:
    """What was written down. A line cut off is a deed that was never done: the router was killed
    while it wrote."""
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(0 if undo(entries_in(sys.stdin.buffer.readlines())) else 1)
