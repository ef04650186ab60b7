"""The router's process: its privileges, its limits, and the processes that the guard starts."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import socket
from pathlib import Path
from typing import Final

from router.platform.account import become
from router.platform.base.errors import PlatformError
from router.platform.linux.reread import Output
from router.platform.linux.sockets import bind_to_device
from router.platform.privileged.client import GuardClient

PR_SET_NO_NEW_PRIVS: Final = 38
"""linux/prctl.h"""


class LinuxProcesses:
    """See Processes."""

    def __init__(self, guard: GuardClient) -> None:
        self._guard = guard

    def drop_privileges(self, user: str) -> None:
        become(user)
        _forbid_new_privileges()
        _check_binding(user)

    def guard(self) -> GuardClient:
        return self._guard

    def start_reread(self) -> Output:
        (output,) = self._guard.call("start_reread").descriptors
        return Output(output)

    def control_socket(self) -> socket.socket:
        return self._guard.open_socket("control_socket")

    def raise_descriptor_limit(self) -> int:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return most

    def open_descriptors(self) -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _forbid_new_privileges() -> None:
    """No program that the router executes gains privileges (prctl(2)). Raises PlatformError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise PlatformError(f"prctl(PR_SET_NO_NEW_PRIVS): {os.strerror(ctypes.get_errno())}")


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
