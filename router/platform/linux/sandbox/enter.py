"""Giving up what a process can give up for good (prctl(2), seccomp(2), capabilities(7), tty(4)).

Must not know: when that happens.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
from collections.abc import Collection
from itertools import count
from struct import Struct
from typing import Final

from router.platform.linux.icmp_filter import SOCK_FILTER, SOCK_FPROG
from router.platform.linux.sandbox.calls import MACHINES, SECCOMP, number
from router.platform.linux.sandbox.program import Encoded, program

PR_SET_DUMPABLE: Final = 4
PR_SET_SECCOMP: Final = 22
PR_CAPBSET_DROP: Final = 24
PR_SET_NO_NEW_PRIVS: Final = 38
PR_CAP_AMBIENT: Final = 47
PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
"""linux/prctl.h"""
SECCOMP_SET_MODE_FILTER: Final = 1
SECCOMP_MODE_FILTER: Final = 2
SECCOMP_FILTER_FLAG_SPEC_ALLOW: Final = 1 << 2
CAPABILITY_VERSION_3: Final = 0x20080522
CAP_HEADER: Final = Struct("=Ii")
CAP_DATA_SIZE: Final = 24
"""linux/capability.h: struct __user_cap_header_struct, and two of __user_cap_data_struct."""
THIS_PROCESS: Final = 0

_libc = ctypes.CDLL(None, use_errno=True)


def empty_bounding_set() -> None:
    """No program that is executed from now on gets a capability. Where the process may not do that
    (it needs CAP_SETPCAP), the set stays as it is."""
    with contextlib.suppress(OSError):
        for capability in count():
            _prctl(PR_CAPBSET_DROP, capability)  # EINVAL behind the last that the kernel has


def forbid_new_privileges() -> None:
    """No program that is executed gains privileges, and no other process of the same account may
    trace this one or read its memory. Raises OSError."""
    with contextlib.suppress(OSError):
        _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    _prctl(PR_SET_NO_NEW_PRIVS, 1)
    _prctl(PR_SET_DUMPABLE, 0)


def drop_capabilities() -> None:
    """Have none from now on, whatever the user. Raises OSError."""
    header = CAP_HEADER.pack(CAPABILITY_VERSION_3, THIS_PROCESS)
    if _libc.capset(header, bytes(CAP_DATA_SIZE)):
        number_ = ctypes.get_errno()
        raise OSError(number_, os.strerror(number_))


def filter_system_calls(without: Collection[str] = ()) -> None:
    """For good; `without` some that a router may make. Raises OSError; ENOSYS or EINVAL where the
    kernel or the machine has no filter."""
    machine = MACHINES.get(os.uname().machine)
    call = None if machine is None else number(SECCOMP, machine)
    if machine is None or call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    _apply(call, program(machine, os.getpid(), without))


def _apply(call: int, instructions: list[Encoded]) -> None:
    """With SPEC_ALLOW, since the process runs no code of others; before Linux 5.16 the kernel would
    otherwise switch off speculation, which makes it a third slower."""
    code = b"".join(SOCK_FILTER.pack(*instruction) for instruction in instructions)
    buffer = ctypes.create_string_buffer(code)
    fprog = SOCK_FPROG.pack(len(instructions), ctypes.addressof(buffer))
    for flags in (SECCOMP_FILTER_FLAG_SPEC_ALLOW, 0):
        operation = ctypes.c_ulong(SECCOMP_SET_MODE_FILTER)
        if not _libc.syscall(ctypes.c_long(call), operation, ctypes.c_ulong(flags), fprog):
            return
        if ctypes.get_errno() != errno.EINVAL:
            break
    code_ = ctypes.get_errno()
    raise OSError(code_, os.strerror(code_))


def _prctl(option: int, value: int) -> None:
    """Raises OSError."""
    zero = ctypes.c_ulong(0)
    if _libc.prctl(ctypes.c_int(option), ctypes.c_ulong(value), zero, zero, zero):
        number_ = ctypes.get_errno()
        raise OSError(number_, os.strerror(number_))
