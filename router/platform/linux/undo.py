"""How to undo what outlives the process: sysctls, rules, routes by somebody else's interface, and
the files of sockets.

A route, an address or a device goes with the TUN's descriptor; these do not, and are written down
before they are done (`undoer`, `journal`).

Always true: only what is exactly as we left it is undone; what somebody changed meanwhile is his.
"""

from __future__ import annotations

import errno
import stat
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from router.platform.linux.journal import Entry

SYSCTL: Final = Path("/proc/sys")

GONE: Final = frozenset({errno.ENOENT, errno.ESRCH, errno.ENODEV})
"""What the kernel says of a rule or route that is not there."""


def sysctl_entry(path: str, before: str, ours: str) -> Entry:
    return {"undo": "sysctl", "path": path, "before": before, "ours": ours}


def rule_entry(**attributes: Any) -> Entry:
    return {"undo": "rule", "attributes": attributes}


def route_entry(**attributes: Any) -> Entry:
    return {"undo": "route", "attributes": attributes}


def socket_entry(path: str, inode: int | None = None) -> Entry:
    """A socket's file; with `inode` only that one, not another that has taken its place."""
    return {"undo": "socket", "path": path, "inode": inode}


def described(entry: Entry) -> str:
    """For people, in a few words."""
    if entry["undo"] == "sysctl":
        return f"{entry['path']} = {entry['before']}"
    if entry["undo"] == "socket":
        return f"the socket {entry['path']}"
    attributes = " ".join(f"{name} {value}" for name, value in entry["attributes"].items())
    return f"{entry['undo']} {attributes}"


def undo(entries: Iterable[Entry]) -> bool:
    """Undo, the last first; whether all of it could be."""
    done = True
    for entry in reversed(list(entries)):
        try:
            _UNDO[entry["undo"]](entry)
        except FileNotFoundError:
            continue  # the interface is gone, and its settings with it; or the file is
        except OSError as error:
            print(f"tunrouter: could not undo {described(entry)}: {error}", file=sys.stderr)
            done = False
    return done


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


def _netlink(what: str, attributes: dict[str, Any]) -> None:
    """Delete a rule or route; it may be gone already, with the interface or by another hand."""
    from pyroute2.iproute.linux import IPRoute  # noqa: PLC0415 - the waiting process has none
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
}
