"""The files of Unix sockets as recorded changes; see router.platform.privileged.undoable.

Always true: a record is accepted only of a socket of a router that is in the directory of the
journal, so whatever a journal contains, no other file is removed.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Final

from router.config.interfaces import interface_fault
from router.platform.privileged.undoable import Entry

KIND: Final = "socket"
NAME: Final = re.compile(r"([^/]+)\.sock(\.[0-9]{1,10})?")
WHAT: Final = "the socket of a router in the same directory"
MOST_INODE: Final = 2**64 - 1


def socket_entry(path: str, inode: int | None = None) -> Entry:
    """A socket's file; with `inode` only that one, not another that has taken its place."""
    return {"undo": KIND, "path": path, "inode": inode}


def is_socket_entry(entry: Entry, directory: Path) -> bool:
    """Whether an entry of this kind is one that a run with this directory could have written."""
    written = entry.get("path")
    path = Path(written if isinstance(written, str) else "")
    found = NAME.fullmatch(path.name)
    inode = entry.get("inode")
    return (
        entry.keys() == {"undo", "path", "inode"}
        and found is not None
        and interface_fault(found[1]) is None
        and path.parent == directory
        and (inode is None or (type(inode) is int and 0 <= inode <= MOST_INODE))
    )


def describe_socket(entry: Entry) -> str:
    return f"the socket {entry['path']}"


def remove_socket(entry: Entry) -> None:
    """Raises OSError; FileNotFoundError where it is gone."""
    path = Path(entry["path"])
    found = path.lstat()
    if stat.S_ISSOCK(found.st_mode) and entry["inode"] in (None, found.st_ino):
        path.unlink()
