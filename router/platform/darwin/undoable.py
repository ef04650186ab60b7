"""The changes of macOS for the journal and the undoer; see Undoable."""

from __future__ import annotations

from pathlib import Path

from router.platform.darwin import entries
from router.platform.darwin.kernel import RoutingKernel
from router.platform.darwin.undo import undo
from router.platform.privileged.undoable import Entry, Holder


class DarwinUndoable:
    """See Undoable. A Mac has one network, which lasts from one boot to the next."""

    program = "router.platform.darwin.undoer"
    manual = "check what is left (netstat -rn: default routes with the flag I) and delete the file"

    def __init__(self, kernel: RoutingKernel) -> None:
        self._kernel = kernel

    def parse_entry(self, line: bytes, directory: Path) -> Entry:
        """Nothing that is recorded is in the directory."""
        del directory
        return entries.parse_entry(line)

    def describe(self, entry: Entry) -> str:
        return entries.describe(entry)

    def goes_with_network(self, entry: Entry) -> bool:
        """Routes do."""
        del entry
        return True

    def undo(self, entry: Entry) -> None:
        undo(self._kernel, entry)

    def network(self) -> str:
        return self._kernel.boot_session()

    def lock_holder(self, descriptor: int) -> Holder | None:
        """Found by lsof(8) alone, which a person can call too."""
        del descriptor
        return None
