"""The changes of macOS for the journal and the undoer; see Undoable."""

from __future__ import annotations

from pathlib import Path

from router.platform.base.descriptors import HasFileno
from router.platform.darwin import entries
from router.platform.darwin.holders import file_holder
from router.platform.darwin.kernel import RoutingKernel
from router.platform.darwin.process_watch import watch
from router.platform.darwin.processes_kernel import ProcessesKernel
from router.platform.darwin.undo import undo
from router.platform.privileged import socket_files
from router.platform.privileged.undoable import Entry, Holder


class DarwinUndoable:
    """See Undoable. A Mac has one network, which lasts from one boot to the next."""

    program = "router.platform.darwin.undoer"
    manual = "check what is left (netstat -rn: default routes with the flag I) and delete the file"

    def __init__(self, kernel: RoutingKernel, processes: ProcessesKernel) -> None:
        self._kernel = kernel
        self._processes = processes

    def parse_entry(self, line: bytes, directory: Path) -> Entry:
        return entries.parse_entry(line, directory)

    def describe(self, entry: Entry) -> str:
        return entries.describe(entry)

    def goes_with_network(self, entry: Entry) -> bool:
        """Routes do, files do not."""
        return bool(entry["undo"] != socket_files.KIND)

    def undo(self, entry: Entry) -> None:
        undo(self._kernel, entry)

    def network(self) -> str:
        return self._kernel.boot_session()

    def watch(self, words: str) -> HasFileno | None:
        return watch(self._processes, words)

    def lock_holder(self, descriptor: int) -> Holder | None:
        return file_holder(self._processes, descriptor)
