"""A relay buffer that copies nothing: a pipe that splice(2) fills from one socket and drains into
another (splice(2), pipe(7))."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from mmap import PAGESIZE
from typing import Final

from router.platform.linux.only_on_linux import (
    F_SETPIPE_SZ,
    SPLICE_F_MOVE,
    SPLICE_F_NONBLOCK,
    pipe2,
    splice,
)

CAPACITY: Final = 1 << 20
"""Bytes at a time. Measured: 1 MB in a pipe is 10 to 20% faster than 256 KB in a buffer."""
NOT_WAITING: Final = SPLICE_F_NONBLOCK | SPLICE_F_MOVE


class SplicePipe:
    """See RelayBuffer."""

    def __init__(self) -> None:
        """Raises OSError when there is no descriptor left."""
        self.held = self.least_full = 0
        self._out, self._in = pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        with contextlib.suppress(OSError):
            # A pipe is full when all its slots, one for a page, have something, be it one byte.
            self.least_full = fcntl.fcntl(self._in, F_SETPIPE_SZ, CAPACITY) // PAGESIZE

    def fill(self, source: socket.socket) -> int:
        self.held = splice(source.fileno(), self._in, CAPACITY, flags=NOT_WAITING)
        return self.held

    def drain(self, sink: socket.socket) -> None:
        self.held -= splice(self._out, sink.fileno(), self.held, flags=NOT_WAITING)

    def close(self) -> None:
        os.close(self._in)
        os.close(self._out)
