"""Processes of this machine as xnu tells of them; see ProcessesKernel. On a Mac it does."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from router.platform.base.descriptors import HasFileno
from router.platform.darwin.processes_kernel import ProcessesKernel, XnuProcesses
from tests.unit.darwin.fake_kernel import refuse


class Exit:
    """A descriptor of a process (pidfd_open(2)) in the place of a kqueue."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def __del__(self) -> None:
        os.close(self._descriptor)


class FakeProcesses:
    def exit_of(self, pid: int) -> HasFileno:
        if sys.platform != "linux":
            raise refuse(errno.ENOSYS)
        return Exit(os.pidfd_open(pid))

    def started(self, pid: int) -> tuple[int, int]:
        """In clock ticks since the boot (proc(5))."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except FileNotFoundError:
            raise refuse(errno.ESRCH) from None
        return int(stat.rpartition(")")[2].split()[19]), 0

    def arguments(self, pid: int) -> list[str]:
        return Path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")

    def holders(self, descriptor: int) -> list[int]:
        os.fstat(descriptor)
        return []

    def most_files(self) -> int:
        return 61_440


def processes() -> ProcessesKernel:
    """The real ones where there are such."""
    return XnuProcesses() if sys.platform == "darwin" else FakeProcesses()
