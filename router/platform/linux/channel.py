"""Messages between two processes: values as JSON, and descriptors (unix(7), SCM_RIGHTS).

Always true: what the other side sends can be anything; it ends in a value, in EOFError, or in
ValueError when it is no message at all, and never fills the memory.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
from collections.abc import Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

SIZE: Final = Struct("=I")
LARGEST: Final = 256 << 20
"""Bytes of one message: a million routes are 40 MB."""
MOST_DESCRIPTORS: Final = 64


class Message(NamedTuple):
    value: Any
    descriptors: Sequence[int] = ()


class Channel:
    """One end of a connected stream socket, which belongs to it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def fileno(self) -> int:
        return self._connection.fileno()

    def send(self, message: Message) -> None:
        """Raises OSError when nobody is there."""
        body = json.dumps(message.value).encode()
        socket.send_fds(self._connection, [SIZE.pack(len(body))], list(message.descriptors))
        self._connection.sendall(body)

    def receive(self) -> Message:
        """The next message; its descriptors belong to the caller.

        Raises EOFError at the end, ValueError, OSError.
        """
        start, descriptors, _, _ = socket.recv_fds(self._connection, SIZE.size, MOST_DESCRIPTORS)
        try:
            (size,) = SIZE.unpack(start + self._exactly(SIZE.size - len(start)))
            _bound(size)
            return Message(_parsed(self._exactly(size)), descriptors)
        except (ValueError, EOFError, OSError):
            for descriptor in descriptors:
                os.close(descriptor)
            raise

    def is_readable(self) -> bool:
        """Whether `receive` finds a message, or the end, without waiting."""
        poll = select.poll()  # unlike select.select for descriptors of any number
        poll.register(self._connection, select.POLLIN)
        return bool(poll.poll(0))

    def bound(self, seconds: float) -> None:
        """From now on TimeoutError is raised when the other side takes or says nothing for so
        long."""
        self._connection.settimeout(seconds)

    def end(self) -> None:
        """Nothing can be said any more by either side, and both find it readable; see `close`."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._connection.close()

    def _exactly(self, size: int) -> bytes:
        """Raises EOFError if it ends before."""
        received = bytearray()
        while len(received) < size:
            piece = self._connection.recv(size - len(received))
            if not piece:
                raise EOFError
            received += piece
        return bytes(received)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("a message that is nested too deeply") from error


def _bound(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"a message of {size} bytes")
