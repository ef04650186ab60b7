"""What xnu says about processes, behind a small Protocol: libproc(3), sysctl(3) and kqueue(2).

Must not know: why it is asked.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import sys
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, Protocol

from router.platform.base.descriptors import HasFileno

PROC_ALL_PIDS: Final = 1
PROC_PIDTBSDINFO: Final = 3
"""sys/proc_info.h:51, 724"""
BSD_INFO_SIZE: Final = 136
STARTED: Final = Struct("<QQ")
STARTED_AT: Final = 120
"""struct proc_bsdinfo: pbi_start_tvsec and pbi_start_tvusec are its last fields
(sys/proc_info.h:88-110)."""
CTL_KERN: Final = 1
KERN_PROCARGS2: Final = 49
"""sys/sysctl.h"""
ARGUMENT_COUNT: Final = Struct("<i")
MOST_ARGUMENTS: Final = 1 << 20
"""Bytes; ARG_MAX (sys/syslimits.h)."""
F_GETPATH: Final = 50
"""sys/fcntl.h"""
MAXPATHLEN: Final = 1024
"""sys/param.h"""
MOST_HOLDERS: Final = 64
PID: Final = Struct("<i")
EVFILT_PROC: Final = -5
EV_ADD: Final = 0x1
NOTE_EXIT: Final = 0x80000000
"""sys/event.h:74, 144-149, 268"""
MAXFILESPERPROC: Final = b"kern.maxfilesperproc"


class ProcessesKernel(Protocol):
    """All methods raise OSError, ESRCH for a process that there is not."""

    def exit_of(self, pid: int) -> HasFileno:
        """What becomes readable when the process ends, and stays so."""
        ...

    def started(self, pid: int) -> tuple[int, int]:
        """When a process was started, in seconds and microseconds: no two with one number have
        that in common."""
        ...

    def arguments(self, pid: int) -> list[str]: ...

    def holders(self, descriptor: int) -> list[int]:
        """The processes that have a file open which is open here too."""
        ...

    def most_files(self) -> int:
        """The descriptors that one process may have."""
        ...


class XnuProcesses:
    """See ProcessesKernel. library: libc, or what has its functions. control: fcntl(2)."""

    def __init__(
        self, library: Any = None, control: Callable[[int, int, bytes], bytes] = fcntl.fcntl
    ) -> None:
        self._library = library or ctypes.CDLL(None, use_errno=True)
        self._control = control

    def exit_of(self, pid: int) -> HasFileno:
        if sys.platform != "darwin":
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        kqueue = select.kqueue()
        try:
            kqueue.control([select.kevent(pid, EVFILT_PROC, EV_ADD, NOTE_EXIT)], 0, 0)
        except OSError:
            kqueue.close()
            raise
        return kqueue

    def started(self, pid: int) -> tuple[int, int]:
        ctypes.set_errno(0)
        buffer = ctypes.create_string_buffer(BSD_INFO_SIZE)
        size = self._library.proc_pidinfo(
            pid, PROC_PIDTBSDINFO, ctypes.c_uint64(0), buffer, len(buffer)
        )
        if size != BSD_INFO_SIZE:
            _raise(errno.ESRCH)
        seconds, microseconds = STARTED.unpack_from(buffer.raw, STARTED_AT)
        return seconds, microseconds

    def arguments(self, pid: int) -> list[str]:
        name = (ctypes.c_int * 3)(CTL_KERN, KERN_PROCARGS2, pid)
        buffer = ctypes.create_string_buffer(MOST_ARGUMENTS)
        size = ctypes.c_size_t(len(buffer))
        if self._library.sysctl(name, 3, buffer, ctypes.byref(size), None, 0):
            _raise(errno.ESRCH)
        return parse_arguments(buffer.raw[: size.value])

    def holders(self, descriptor: int) -> list[int]:
        path = self._control(descriptor, F_GETPATH, bytes(MAXPATHLEN)).partition(b"\0")[0]
        buffer = ctypes.create_string_buffer(MOST_HOLDERS * PID.size)
        size = self._library.proc_listpidspath(PROC_ALL_PIDS, 0, path, 0, buffer, len(buffer))
        if size < 0:
            _raise(errno.ESRCH)
        found = {pid for (pid,) in PID.iter_unpack(buffer.raw[: size // PID.size * PID.size])}
        return sorted(found - {0})

    def most_files(self) -> int:
        number = ctypes.c_int(0)
        size = ctypes.c_size_t(ctypes.sizeof(number))
        if self._library.sysctlbyname(
            MAXFILESPERPROC, ctypes.byref(number), ctypes.byref(size), None, 0
        ):
            _raise(errno.ENOENT)
        return number.value


def parse_arguments(value: bytes) -> list[str]:
    """Of KERN_PROCARGS2: their number, the path of the program, zeros up to the first of them, each
    with a zero behind it, and the environment (kern/kern_sysctl.c, sysctl_procargsx)."""
    if len(value) < ARGUMENT_COUNT.size:
        return []
    (count,) = ARGUMENT_COUNT.unpack_from(value)
    _, _, words = value[ARGUMENT_COUNT.size :].partition(b"\0")
    found = words.lstrip(b"\0").split(b"\0")
    return [each.decode("utf-8", "replace") for each in found[: max(0, count)]]


def _raise(otherwise: int) -> None:
    """The error of the last call; `otherwise` where it has left none."""
    number = ctypes.get_errno() or otherwise
    raise OSError(number, os.strerror(number))
