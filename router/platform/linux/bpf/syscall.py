"""Maps and programs by bpf(2) (linux/bpf.h, union bpf_attr).

Always true: what is made lasts as long as a descriptor of it.

Must not know: what maps and programs are for.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Sequence
from struct import Struct
from typing import Final

NUMBERS: Final = {
    "x86_64": 321,
    "aarch64": 280,
    "riscv64": 280,
    "loongarch64": 280,
    "armv7l": 386,
    "armv6l": 386,
    "i686": 357,
    "ppc64le": 361,
    "s390x": 351,
}
"""Of the system call, by machine."""
MAP_CREATE: Final = 0
MAP_UPDATE_ELEM: Final = 2
MAP_DELETE_ELEM: Final = 3
PROG_LOAD: Final = 5
MAP_UPDATE_BATCH: Final = 26
LINK_CREATE: Final = 28
NO_BATCHES: Final = (errno.EINVAL, errno.EOPNOTSUPP, 524)
"""524 is the kernel's own ENOTSUPP (linux/errno.h)."""

HASH: Final = 1
ARRAY: Final = 2
LPM_TRIE: Final = 11
NO_PREALLOC: Final = 1 << 0
MMAPABLE: Final = 1 << 10
SOCKET_FILTER: Final = 1
SCHEDULING: Final = 3
"""BPF_PROG_TYPE_SCHED_CLS"""
TCX_INGRESS: Final = 46
TCX_EGRESS: Final = 47
BEFORE: Final = 1 << 3
"""BPF_F_BEFORE: if no program is named, before all others."""
SO_ATTACH_BPF: Final = 50

CREATE: Final = Struct("=5I8x16s")
"""Type, key size, value size, most entries, flags; name."""
ELEMENT: Final = Struct("=I4xQQQ")
"""Map, address of the key, address of the value, flags."""
BATCH: Final = Struct("=16xQQII16x")
"""Addresses of keys and values, their number, map."""
LOAD: Final = Struct("=IIQQ24x")
"""Type, number of instructions, their address, address of the licence; no log."""
INSTRUCTION: Final = 8
"""Bytes."""
LINK: Final = Struct("=4I16x")
"""Program, interface, where, flags."""
LICENCE: Final = b"MIT\0"
NAME: Final = b"tunrouter"

_libc = ctypes.CDLL(None, use_errno=True)
_number = NUMBERS.get(os.uname().machine)


def create_map(kind: int, key: int, value: int, most: int, flags: int = 0) -> int:
    """The descriptor of a map; key and value are sizes in bytes. Raises OSError."""
    return bpf(MAP_CREATE, CREATE.pack(kind, key, value, most, flags, NAME))


def update(map_: int, key: bytes, value: bytes) -> None:
    """Raises OSError; with E2BIG the map is full."""
    bpf(MAP_UPDATE_ELEM, ELEMENT.pack(map_, address_of(key), address_of(value), 0))


def update_all(map_: int, elements: Sequence[tuple[bytes, bytes]]) -> None:
    """The same for many, in a quarter of the time where the kernel takes them together (Linux
    5.13). Raises OSError; then some may be in the map."""
    if not elements:
        return
    keys = b"".join(key for key, _ in elements)
    values = b"".join(value for _, value in elements)
    batch = BATCH.pack(address_of(keys), address_of(values), len(elements), map_)
    try:
        bpf(MAP_UPDATE_BATCH, batch)
    except OSError as error:
        if error.errno not in NO_BATCHES:
            raise
        for key, value in elements:
            update(map_, key, value)


def delete(map_: int, key: bytes) -> None:
    """Raises OSError; with ENOENT there is no such key."""
    bpf(MAP_DELETE_ELEM, ELEMENT.pack(map_, address_of(key), 0, 0))


def load_filter(code: bytes, kind: int = SOCKET_FILTER) -> int:
    """The descriptor of a program, by default of a socket filter. Raises OSError; with EINVAL or
    EACCES the kernel has not accepted the program."""
    instructions = len(code) // INSTRUCTION
    return bpf(PROG_LOAD, LOAD.pack(kind, instructions, address_of(code), address_of(LICENCE)))


def link(program: int, interface: int, where: int, flags: int = 0) -> int:
    """Attach a program to an interface, given by index, for as long as the descriptor that this
    returns is open (Linux 6.6). Raises OSError."""
    return bpf(LINK_CREATE, LINK.pack(program, interface, where, flags))


def attach(sock: socket.socket, program: int) -> None:
    """Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_BPF, program)


def address_of(data: bytes) -> int:
    """Of the bytes themselves, which the caller keeps."""
    return ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0


def bpf(command: int, attributes: bytes) -> int:
    """The system call itself. attributes: see union bpf_attr. Raises OSError."""
    if _number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    result: int = _libc.syscall(
        ctypes.c_long(_number),
        ctypes.c_int(command),
        ctypes.c_char_p(attributes),
        ctypes.c_uint(len(attributes)),
    )
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
