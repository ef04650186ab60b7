"""The router's end of the connection to the guard."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from router.platform.base import PlatformError
from router.platform.linux.channel import Channel, Message

GUARD: Final = "router.platform.linux.guard"
PATIENCE: Final = 15.0
"""Seconds to wait for it at the end; it needs a fraction of one."""
GONE: Final = (
    "the process that would clean up after a kill has itself been killed: stopping, and cleaning "
    "up now; start the router again"
)

Told = Callable[[Message | Exception], None]


class Guard:
    """Starts the guard, and asks it. rereading: see System.read_anew.

    Its descriptor becomes readable when there is something to `hear`.

    Always true: no question is sent before the one before it is answered. The guard does not read
    while it answers, and either may be longer than what the kernel keeps of it, so two that are on
    their way at a time could wait for each other for ever.
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
        # Questions whose answers nobody waits for; the first of them has been sent.
        self._later: deque[tuple[Message, Told]] = deque()
        self._is_gone = False

    def fileno(self) -> int:
        return self._channel.fileno()

    def ask(self, operation: str, **arguments: Any) -> Message:
        """What an operation answers and hands over. Raises PlatformError, OSError."""
        while self._later:
            self._take()
        self._send(Message([operation, arguments]))
        return self._receive()

    def ask_later(self, operation: str, told: Told, **arguments: Any) -> None:
        """The same, without waiting: `told` is called with what is answered or refused, by `hear`
        or before the next `ask` returns. Raises PlatformError."""
        question = Message([operation, arguments])
        if not self._later:
            self._send(question)
        self._later.append((question, told))

    def hear(self) -> None:
        """See Lifeline. Does not wait: what made it readable can have been taken by an `ask`."""
        if not self._channel.is_readable():
            return
        if self._later:
            self._take()
        else:
            self._receive()

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

    def _send(self, question: Message) -> None:
        try:
            self._channel.send(question)
        except ConnectionError as error:
            raise PlatformError(GONE) from error

    def _take(self) -> None:
        """The next of the answers that nobody waits for; the next question can be sent then."""
        _, told = self._later.popleft()
        try:
            answer: Message | Exception = self._receive()
        except (PlatformError, OSError) as error:
            if self._is_gone:
                raise
            answer = error
        if self._later:
            self._send(self._later[0][0])
        told(answer)

    def _receive(self) -> Message:
        try:
            answer, descriptors = self._channel.receive()
        except (EOFError, ConnectionError) as error:
            self._is_gone = True
            raise PlatformError(GONE) from error
        if "refused" in answer:
            raise PlatformError(answer["refused"])
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return Message(answer["value"], descriptors)
