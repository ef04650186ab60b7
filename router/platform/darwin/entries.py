"""Changes that outlive the utun, as records: scoped default routes of other programs' tunnels, and
the file of the control socket.

Always true: a record is accepted only if a run could have written it, so whatever a file contains,
no route is deleted but a scoped default without a gateway by an interface that still has the
recorded name, and no file removed but a socket beside the journal.

Must not know: how a change is undone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from router.config.interfaces import interface_fault
from router.platform.darwin.sockaddr import Link
from router.platform.privileged import socket_files
from router.platform.privileged.undoable import Entry

KIND: Final = "scoped_default"
MOST_INDEX: Final = 0xFFFF
SHOWN: Final = 60


def scoped_default_entry(version: int, link: Link) -> Entry:
    return {"undo": KIND, "version": version, "name": link.name, "index": link.number}


def recorded_default(entry: Entry) -> tuple[int, Link]:
    """The IP version and the interface of a valid entry."""
    return entry["version"], Link(entry["index"], entry["name"])


def describe(entry: Entry) -> str:
    """For people, of a valid entry."""
    if entry["undo"] == socket_files.KIND:
        return socket_files.describe_socket(entry)
    return f"the scoped default route of IPv{entry['version']} by {entry['name']}"


def parse_entry(line: bytes, directory: Path) -> Entry:
    """directory: of the journal. Raises ValueError for what no run has written."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not a record: {_short(line)}") from error
    if not isinstance(entry, dict) or not (
        socket_files.is_socket_entry(entry, directory)
        if entry.get("undo") == socket_files.KIND
        else _is_scoped_default(entry)
    ):
        raise ValueError(f"not a record of this router: {_short(line)}")
    valid: Entry = entry
    return valid


def _is_scoped_default(entry: Entry) -> bool:
    if set(entry) != {"undo", "version", "name", "index"}:
        return False
    name, index, version = entry["name"], entry["index"], entry["version"]
    return (
        entry["undo"] == KIND
        and type(version) is int
        and version in (4, 6)
        and isinstance(name, str)
        and interface_fault(name) is None
        and type(index) is int
        and 0 < index <= MOST_INDEX
    )


def _short(line: bytes) -> str:
    text = line.decode("utf-8", "replace").strip()
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
