"""Relay buffers: bytes on their way from one TCP socket to another.

Theory of operation. A pipe of the platform moves bytes without copying them; a buffer in our own
memory does where the system has no such pipe or no descriptor is left for one. A source that has an
urgent byte (RFC 9293, section 3.8.5) has it in line, and reading stops before it: splice(2) for
ever, so it is read by itself, into memory, and sent on as urgent.

Always true: a buffer is filled only when it is empty, and what is borrowed is given back.

Must not know: which sockets belong together, and when they end.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from router.outbound.descriptors import Descriptors
from router.platform.base.tcp import RelayBuffer

SPARE: Final = 16
"""Empty buffers to keep."""
DESCRIPTORS_OF_A_PIPE: Final = 2
LEFT_TO_FLOWS: Final = 8
"""One part of so many of all descriptors is not for pipes, so that connections whose far ends read
nothing leave some for others."""
BUFFER: Final = 256 << 10

IsAtMark = Callable[[socket.socket], bool]
"""Whether the next byte of a socket is an urgent one."""


class MemoryBuffer:
    """See RelayBuffer: a buffer in our own memory. What has come is looked at before the mark is
    asked for: a byte that comes between the question and the reading is never read unasked."""

    least_full = 0
    _scratch = bytearray(BUFFER)
    """Shared: between fill and drain nothing else runs. Only what is left over is copied."""

    def __init__(self, is_at_mark: IsAtMark) -> None:
        self.held = 0
        self._rest = memoryview(b"")
        self._is_at_mark = is_at_mark
        self._flags = 0

    def fill(self, source: socket.socket) -> int:
        if not source.recv(1, socket.MSG_PEEK):
            return 0
        is_urgent = self._is_at_mark(source)
        self._flags = socket.MSG_OOB if is_urgent else 0
        self.held = source.recv_into(self._scratch, 1 if is_urgent else BUFFER)
        self._rest = memoryview(self._scratch)[: self.held]
        return self.held

    def drain(self, sink: socket.socket) -> None:
        try:
            self.held -= sink.send(self._rest, self._flags)
        finally:
            self._keep_rest()

    def _keep_rest(self) -> None:
        """What is left over moves out of the shared buffer, once."""
        rest = self._rest[len(self._rest) - self.held :]
        self._rest = memoryview(bytes(rest)) if rest.obj is self._scratch else rest

    def close(self) -> None:
        pass


class BufferPool:
    """Where buffers are borrowed.

    open_pipe: opens a buffer that copies nothing; see TcpSockets.open_pipe. descriptors: those of
    pipes are taken from there.
    """

    def __init__(
        self,
        descriptors: Descriptors,
        open_pipe: Callable[[], RelayBuffer] | None,
        is_at_mark: IsAtMark,
    ) -> None:
        self.is_at_mark = is_at_mark
        self._descriptors = descriptors
        self._open_pipe = open_pipe
        self._spare: list[RelayBuffer] = []

    def borrow(self) -> RelayBuffer:
        if self._spare:
            return self._spare.pop()
        if self._open_pipe is not None and self._descriptors.take(
            DESCRIPTORS_OF_A_PIPE, leaving=self._descriptors.limit // LEFT_TO_FLOWS
        ):
            try:
                return self._open_pipe()
            except OSError:
                self._descriptors.give_back(DESCRIPTORS_OF_A_PIPE)
        return self.in_memory()

    def in_memory(self) -> MemoryBuffer:
        """One that takes an urgent byte, if that comes next."""
        return MemoryBuffer(self.is_at_mark)

    def give_back(self, buffer: RelayBuffer) -> None:
        """An empty pipe is kept for others; what holds something, or is more than SPARE, is
        closed."""
        if buffer.held or len(self._spare) >= SPARE or isinstance(buffer, MemoryBuffer):
            self._close(buffer)
        else:
            self._spare.append(buffer)

    def close(self) -> None:
        while self._spare:
            self._close(self._spare.pop())

    def _close(self, buffer: RelayBuffer) -> None:
        buffer.close()
        if not isinstance(buffer, MemoryBuffer):
            self._descriptors.give_back(DESCRIPTORS_OF_A_PIPE)
