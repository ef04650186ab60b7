"""The router's process: its privileges and its limits."""

from __future__ import annotations

import ctypes
import errno
import logging
import resource
import socket
from pathlib import Path
from typing import Final

from router.platform.account import become
from router.platform.base.errors import PlatformError
from router.platform.linux.sandbox import enter
from router.platform.linux.sockets import bind_to_device
from router.platform.privileged.processes import GuardedProcesses
from router.platform.reason import reason
from router.platform.terminal import leave_terminal

log = logging.getLogger(__name__)

ROOT: Final = "root"


class LinuxProcesses(GuardedProcesses):
    """See Processes."""

    def drop_privileges(self, user: str) -> None:
        leave_terminal()
        if user != ROOT:
            enter.empty_bounding_set()
        become(user)
        enter.forbid_new_privileges()
        _check_binding(user)
        try:
            enter.filter_system_calls()
        except OSError as error:
            log.warning(
                "this system has no filter of system calls for the router (seccomp: %s): one that "
                "was taken over could make those of any program of user %s",
                *(reason(error), user),
            )

    def raise_descriptor_limit(self) -> int:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return most

    def give_back_memory(self) -> None:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc alone
        if trim is not None:
            trim(0)

    def open_descriptors(self) -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _check_binding(user: str) -> None:
    """That a process without privileges can bind a socket to an interface. Raises
    PlatformError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            bind_to_device(sock, "lo")
        except OSError as error:
            if error.errno != errno.EPERM:
                raise
            raise PlatformError(
                f"this kernel lets only root bind sockets to an interface, and {user} is not: "
                "write 'user: root' into the rules, or use Linux 5.7 or later"
            ) from error
