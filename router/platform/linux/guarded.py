"""The router's end of the connection to the guard."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from router.platform.base import PlatformError
from router.platform.linux.channel import Channel, Message

GUARD: Final = "router.platform.linux.guard"
PATIENCE: Final = 15.0
"""Seconds to wait for it at the end; it needs a fraction of one."""


class Guard:
    """Starts the guard, and asks it. rereading: see System.read_anew.

    Its descriptor becomes readable, while nothing is asked, when the guard is gone.
    """

    def __init__(self, rereading: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", GUARD, *rereading],
                stdin=theirs.fileno(),
                start_new_session=True,
            )
        self._channel = Channel(ours)

    def fileno(self) -> int:
        return self._channel.fileno()

    def ask(self, operation: str, **arguments: Any) -> Message:
        """What an operation answers and hands over. Raises PlatformError, OSError."""
        try:
            self._channel.send(Message([operation, arguments]))
            answer, descriptors = self._channel.receive()
        except (EOFError, ConnectionError) as error:
            raise PlatformError("the guard is gone: start the router again") from error
        if "refused" in answer:
            raise PlatformError(answer["refused"])
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return Message(answer["value"], descriptors)

    def open_sockets(self, operation: str, **arguments: Any) -> Iterator[socket.socket]:
        """The sockets that an operation hands over: at least one, perhaps fewer than were asked
        for. Raises PlatformError, OSError."""
        descriptors = self.ask(operation, **arguments).descriptors
        if not descriptors:  # what we have no room for is dropped on the way, see unix(7)
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        for descriptor in descriptors:
            yield socket.socket(fileno=descriptor)

    def open_socket(self, operation: str, **arguments: Any) -> socket.socket:
        """The one socket that an operation hands over. Raises PlatformError, OSError."""
        (only,) = self.open_sockets(operation, **arguments)
        return only

    def close(self) -> bool:
        """Have everything undone; whether that has worked, as far as the guard can tell: one that
        was killed says nothing, and leaves it to the undoer."""
        self._channel.close()
        try:
            return self._process.wait(PATIENCE) <= 0
        except subprocess.TimeoutExpired:
            return False
