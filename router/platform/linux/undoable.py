"""The changes of Linux for the journal and the undoer; see Undoable."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from router.platform.linux import entries
from router.platform.linux.holders import lock_holder
from router.platform.linux.runtime import namespace_identity
from router.platform.linux.undo import undo
from router.platform.privileged.undoable import Entry, Holder


class LinuxUndoable:
    """See Undoable."""

    program = "router.platform.linux.undoer"
    manual = "check what is left (sysctl -a -r rp_filter; ip -6 rule) and delete the file"

    def parse_entry(self, line: bytes, directory: Path) -> Entry:
        return entries.parse_entry(line, directory)

    def describe(self, entry: Entry) -> str:
        return entries.describe(entry)

    def goes_with_network(self, entry: Entry) -> bool:
        return entries.goes_with_namespace(entry)

    def undo(self, entry: Entry) -> None:
        undo(entry)

    def network(self) -> str:
        return namespace_identity()

    def watch(self, words: str) -> int:
        """An inherited descriptor of the process."""
        return int(words)

    def lock_holder(self, descriptor: int) -> Holder | None:
        return lock_holder(descriptor)


LINUX: Final = LinuxUndoable()
