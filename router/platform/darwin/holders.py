"""The process that has a file open (libproc(3), proc_listpidspath)."""

from __future__ import annotations

import os

from router.platform.darwin.processes_kernel import ProcessesKernel
from router.platform.privileged.undoable import Holder


def file_holder(kernel: ProcessesKernel, descriptor: int) -> Holder | None:
    """Another process than this one, of a file that is open here too. What has a lock is not told;
    a journal is opened by those alone that have its lock, or wait for it."""
    try:
        for pid in kernel.holders(descriptor):
            if pid != os.getpid():
                return Holder(pid, " ".join(kernel.arguments(pid)) or f"process {pid}")
    except OSError:
        pass
    return None
