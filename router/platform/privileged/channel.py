"""Messages between two processes: values as JSON, records, and descriptors (unix(7), SCM_RIGHTS).

Records are what there may be a million of: bytes, which take no more memory than they have. JSON
can take thirty times as much, so what one side accepts of it has a limit.

Always true: whatever the peer sends, the result is a value, EOFError, or ValueError for what is no
message; it never fills the memory. After an error within a message it is unknown where the next
begins: the connection is shut down, which both sides see as its end.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import socket
import sys
from collections.abc import Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

SIZES: Final = Struct("=II")
"""Bytes of the value and of the records."""
LARGEST_VALUE: Final = 256 << 20
"""Bytes, where the other side is trusted."""
LARGEST_RECORDS: Final = 48 << 20
BUFFER: Final = 64 << 20
"""Bytes on their way; more than a message of records has, so that sending one waits for nobody."""
SO_SNDBUFFORCE: Final = 32
"""asm-generic/socket.h"""
LEAST_BUFFER: Final = 1 << 16
MOST_DESCRIPTORS: Final = 64


class Message(NamedTuple):
    value: Any
    descriptors: Sequence[int] = ()
    records: bytes = b""


class Channel:
    """One end of a connected stream socket. Owns the socket.

    largest_value: bytes of JSON that are accepted in one message.
    """

    def __init__(self, connection: socket.socket, largest_value: int = LARGEST_VALUE) -> None:
        self._connection = connection
        self._largest_value = largest_value
        self._is_shut_down = False

    def fileno(self) -> int:
        return self._connection.fileno()

    def send(self, message: Message) -> None:
        """In one call to the kernel, as far as its buffer has room. Raises OSError when the peer is
        gone."""
        body = json.dumps(message.value).encode()
        whole = SIZES.pack(len(body), len(message.records)) + body + message.records
        sent = send_first(self._connection, whole, message.descriptors)
        try:
            self._connection.sendall(memoryview(whole)[sent:])
        except OSError:
            self.shut_down()
            raise

    def receive(self) -> Message:
        """The next message; its descriptors belong to the caller.

        Raises EOFError at the end, ValueError, OSError, also for a lack of memory.
        """
        if self._is_shut_down:  # what has arrived before could still be read
            raise EOFError
        descriptors: list[int] = []
        try:
            start, descriptors = receive_first(self._connection, SIZES.size, MOST_DESCRIPTORS)
            size, of_records = SIZES.unpack(start + self._exactly(SIZES.size - len(start)))
            _check_size(size, self._largest_value)
            _check_size(of_records, LARGEST_RECORDS)
            value = _parsed(self._exactly(size))
            return Message(value, descriptors, self._exactly(of_records))
        except (ValueError, EOFError, OSError, MemoryError) as error:
            for descriptor in descriptors:
                os.close(descriptor)
            self.shut_down()
            if isinstance(error, MemoryError):
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)) from error
            raise

    def enlarge(self) -> None:
        """Have room for BUFFER bytes that the peer has not read yet, as far as that is allowed."""
        if sys.platform == "linux":
            with contextlib.suppress(OSError):
                self._connection.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, BUFFER)
        else:
            _enlarge_by_halves(self._connection)

    def is_readable(self, seconds: float = 0.0) -> bool:
        """Whether `receive` finds a message, or the end, within so many seconds."""
        poll = select.poll()  # unlike select.select for descriptors of any number
        poll.register(self._connection, select.POLLIN)
        return bool(poll.poll(max(0.0, seconds * 1000)))

    def set_timeout(self, seconds: float) -> None:
        """From now on `send` and `receive` raise TimeoutError when the peer neither reads nor
        writes for so long."""
        self._connection.settimeout(seconds)

    def shut_down(self) -> None:
        """Neither side can send from now on, and both find the channel readable; see `close`."""
        self._is_shut_down = True
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


def send_first(connection: socket.socket, data: bytes, descriptors: Sequence[int]) -> int:
    """Send descriptors with the first bytes of a message; how many bytes were sent. Without any, no
    control message goes with them: macOS would need a table with room even for none
    (kern/uipc_usrreq.c, unp_externalize). Raises OSError."""
    if not descriptors:
        return connection.send(data)
    return socket.send_fds(connection, [data], list(descriptors))


def receive_first(connection: socket.socket, size: int, most: int) -> tuple[bytes, list[int]]:
    """The first bytes of a message and its descriptors, perhaps fewer than were sent: a kernel
    drops those for which this process has no room. macOS says so by EMSGSIZE, and has kept the
    bytes (kern/uipc_usrreq.c, unp_externalize; kern/uipc_socket.c, soreceive). Raises OSError."""
    try:
        data, descriptors, _, _ = socket.recv_fds(connection, size, most)
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        data, descriptors, _, _ = socket.recv_fds(connection, size, most)
    return data, descriptors


def _enlarge_by_halves(connection: socket.socket) -> None:
    """Where no user may exceed a limit: macOS gives as much as kern.ipc.maxsockbuf
    (kern/uipc_socket2.c, sbreserve), older ones refuse what is larger."""
    size = BUFFER
    while size >= LEAST_BUFFER:
        try:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        except OSError:
            size >>= 1
        else:
            return


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except RecursionError as error:
        raise ValueError("a message that is nested too deeply") from error


def _check_size(size: int, largest: int) -> None:
    if size > largest:
        raise ValueError(f"a message of {size} bytes")
