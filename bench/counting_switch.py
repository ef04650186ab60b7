"""Turns the counting of answers of a router that runs off and on again (docs/adr/019-counting.md).

The packet sockets that count belong to the router's guard. They are duplicated here, and bound to
the loopback interface, where no answer arrives, or to their own again: packets meet what they meet
by a router that counts, or by one that does not, and nothing else differs.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final, Self

from router.platform.linux.only_on_linux import AF_PACKET, pidfd_open

PIDFD_GETFD: Final = 438
"""Of the system call, which has this number on all machines (pidfd_getfd(2))."""
LOOPBACK: Final = "lo"

_libc = ctypes.CDLL(None, use_errno=True)


class CountingSwitch:
    """guard: its process. Raises OSError; AssertionError where it does not count."""

    def __init__(self, guard: int) -> None:
        self._stack = ExitStack()
        self._sockets: list[tuple[socket.socket, tuple[str, int]]] = []
        for sock in _sockets(guard):
            is_counter = sock.family == AF_PACKET and sock.type == socket.SOCK_DGRAM
            if is_counter:
                self._stack.callback(sock.close)
                interface, protocol, *_ = sock.getsockname()
                self._sockets.append((sock, (interface, protocol)))
            else:
                sock.close()
        assert self._sockets, f"the guard {guard} counts nothing"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def turn(self, *, on: bool) -> None:
        for sock, (interface, protocol) in self._sockets:
            sock.bind((interface if on else LOOPBACK, protocol))


def _sockets(process: int) -> Iterator[socket.socket]:
    """Duplicates of all that a process has open."""
    pidfd = pidfd_open(process)
    try:
        for each in Path(f"/proc/{process}/fd").iterdir():
            if str(each.readlink()).startswith("socket:"):
                found = _libc.syscall(PIDFD_GETFD, pidfd, int(each.name), 0)
                if found < 0:
                    code = ctypes.get_errno()
                    raise OSError(code, os.strerror(code))
                yield socket.socket(fileno=found)
    finally:
        os.close(pidfd)
