"""Messages between two processes: values as JSON, and descriptors (unix(7), SCM_RIGHTS).

Always true: whatever the peer sends, the result is a value, EOFError, or ValueError for what is no
message; it never fills the memory.
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
    """One end of a connected stream socket. Owns the socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def fileno(self) -> int:
        return self._connection.fileno()

    def send(self, message: Message) -> None:
        """Raises OSError when the peer is gone."""
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
            _check_size(size)
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

    def set_timeout(self, seconds: float) -> None:
        """From now on `send` and `receive` raise TimeoutError when the peer neither reads nor
        writes for so long."""
        self._connection.settimeout(seconds)

    def shut_down(self) -> None:
        """Neither side can send from now on, and both find the channel readable; see `close`."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._connection.close()

    def _exactly(self, size: int) -> bytes:
        """Raises EOFError if the stream ends before."""
        received = bytearray()
        while len(received) < size:
            chunk = self._connection.recv(size - len(received))
            if not chunk:
                raise EOFError
            received += chunk
        return bytes(received)


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("a message that is nested too deeply") from error


def _check_size(size: int) -> None:
    if size > LARGEST:
        raise ValueError(f"a message of {size} bytes")
