"""Undoing what outlives the process; see `entries`.

The routes and addresses of the TUN go with it. The changes here do not, and are recorded before
they are made (`undoer`, `journal`). The TUN itself should go with its descriptor; it is deleted all
the same, by index and name, since a router that was taken over could have left the descriptor to
another process.

Always true: only what is exactly as this router left it is undone; what another program has changed
since stays.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Final

from router.platform.linux.entries import recorded_route, recorded_rule
from router.platform.linux.netlink.constants import GONE
from router.platform.linux.netlink.links import delete_link
from router.platform.linux.netlink.request import Request, request
from router.platform.linux.netlink.rules import delete_rule
from router.platform.linux.netlink.single_routes import delete_route
from router.platform.privileged.socket_files import remove_socket
from router.platform.privileged.undoable import Entry

SYSCTL: Final = Path("/proc/sys")


def undo(entry: Entry) -> None:
    """Raises OSError."""
    try:
        _UNDO[entry["undo"]](entry)
    except FileNotFoundError:
        return  # the interface is gone, and its settings with it; or the file is


def _delete_tun(entry: Entry) -> None:
    try:
        name = socket.if_indextoname(entry["index"])
    except OSError:
        return  # it went with its descriptor
    if name == entry["name"]:
        _delete(delete_link(entry["index"]))


def _restore_sysctl(entry: Entry) -> None:
    path = SYSCTL / entry["path"]
    if path.read_text().strip() == entry["ours"]:
        path.write_text(entry["before"])


def _delete_rule(entry: Entry) -> None:
    _delete(delete_rule(recorded_rule(entry)))


def _delete_route(entry: Entry) -> None:
    _delete(delete_route(recorded_route(entry)))


def _delete(deletion: Request) -> None:
    """It may have been done already: with its interface, or by another program."""
    try:
        request(deletion)
    except OSError as error:
        if error.errno not in GONE:
            raise


_UNDO: Final[dict[str, Callable[[Entry], None]]] = {
    "tun": _delete_tun,
    "sysctl": _restore_sysctl,
    "rule": _delete_rule,
    "route": _delete_route,
    "socket": remove_socket,
}
