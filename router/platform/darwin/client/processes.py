"""The router's process: its privileges and its limits, and who may ask it."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
from typing import Final

from router.platform.account import become
from router.platform.darwin.peer import CheckedListener
from router.platform.darwin.processes_kernel import ProcessesKernel
from router.platform.privileged.client import GuardClient
from router.platform.privileged.processes import GuardedProcesses

DESCRIPTORS: Final = "/dev/fd"


class DarwinProcesses(GuardedProcesses):
    """See Processes."""

    def __init__(self, guard: GuardClient, kernel: ProcessesKernel) -> None:
        super().__init__(guard)
        self._kernel = kernel

    def drop_privileges(self, user: str) -> None:
        """macOS has no capabilities to give up, and no filter of system calls that a program may
        set for itself (sandbox_init(3) is deprecated). The terminal is kept: without it Ctrl-C
        would not end the router (`leave_terminal`)."""
        become(user)

    def control_socket(self) -> socket.socket:
        opened = super().control_socket()
        return CheckedListener(opened.family, opened.type, opened.proto, fileno=opened.detach())

    def raise_descriptor_limit(self) -> int:
        """Whatever the limit, a process has no more descriptors than kern.maxfilesperproc
        (kern/kern_resource.c:1414-1419, 1709)."""
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        here = self._kernel.most_files()
        limit = here if most == resource.RLIM_INFINITY else min(most, here)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
        return limit

    def give_back_memory(self) -> None:
        """Of all zones (malloc/malloc.h)."""
        relieve = getattr(ctypes.CDLL(None), "malloc_zone_pressure_relief", None)
        if relieve is not None:
            relieve(None, ctypes.c_size_t(0))

    def open_descriptors(self) -> int:
        return len(os.listdir(DESCRIPTORS))  # noqa: PTH208 - names are enough
