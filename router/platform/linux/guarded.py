"""The router's end of the connection to the guard."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from router.platform.base import PlatformError
from router.platform.linux.channel import Channel, Message

GUARD: Final = "router.platform.linux.guard"
PATIENCE: Final = 15.0
"""Seconds to wait for it at the end; it needs a fraction of one."""
ANSWER: Final = 10.0
"""Seconds to wait for an answer; one that needs more than a thousandth of them is rare."""
ANSWERS: Final = {"open_tun": 60.0, "add_routes": 60.0, "keep": 60.0}
"""The same of what may mean a million routes, or a former run that has not ended."""
UNDOING: Final = 3.0
"""Seconds to wait for the undoer of a guard that was killed; it needs a fraction of one."""
POLL: Final = 0.01
GONE: Final = (
    "the process that would clean up after a kill has itself been killed: stopping, and cleaning "
    "up now; start the router again"
)
SOME_LEFT: Final = (
    "some changes could not be undone; the lines above name them, and `sudo tunrouter cleanup` "
    "tries again"
)

ErrorQueueResult = Callable[[Message | Exception], None]


class Guard:
    """Starts the guard, and asks it. rereading: see System.read_anew.

    Its descriptor becomes readable when there is something to `hear`.

    Always true: no question is sent before the one before it is answered. The guard does not read
    while it answers, and either may be longer than what the kernel keeps of it, so two that are on
    their way at a time could wait for each other for ever.
    """

    def __init__(self, reread: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", GUARD, *reread],
                stdin=theirs.fileno(),
                start_new_session=True,
            )
        self._channel = Channel(ours)
        # Questions whose answers nobody waits for; the first of them has been sent.
        self._later: deque[tuple[Message, ErrorQueueResult]] = deque()
        self._is_gone = False
        # Why it is asked nothing any more although it is there.
        self._silence: str | None = None

    def fileno(self) -> int:
        return self._channel.fileno()

    def ask(self, operation: str, **arguments: Any) -> Message:
        """What an operation answers and hands over. Raises PlatformError, OSError.

        A guard that does not answer for long is given up: whoever waits for something to `hear` is
        told so too, and the guard undoes everything as soon as it looks.
        """
        while self._later:
            self._take()
        self._send(Message([operation, arguments]))
        return self._receive()

    def ask_later(self, operation: str, told: ErrorQueueResult, **arguments: Any) -> None:
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

    def close(self, journal: Path | None) -> None:
        """Have everything undone.

        journal: where the undoer has what it undoes if the guard was killed, and says nothing.
        Raises PlatformError that says what is left to be done.
        """
        self._channel.close()
        pid = self._process.pid
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired as error:
            raise PlatformError(
                f"the guard (pid {pid}) has not ended for {PATIENCE:g} s, and until it has not "
                f"everything is undone: end it (sudo kill -KILL {pid}); what is left then, `sudo "
                "tunrouter cleanup` undoes"
            ) from error
        if status > 0:
            raise PlatformError(SOME_LEFT)
        if status < 0 and journal is not None and not _goes(journal):
            raise PlatformError(
                f"the guard was killed, and not everything is undone, see {journal}: "
                "`sudo tunrouter cleanup` undoes the rest; then start the router again"
            )

    def _send(self, question: Message) -> None:
        self._demand_patience()
        operation, _ = question.value
        self._patience = ANSWERS.get(operation, ANSWER)
        self._channel.bound(self._patience)
        try:
            self._channel.send(question)
        except TimeoutError as error:
            raise self._given_up() from error
        except ConnectionError as error:
            raise PlatformError(GONE) from error

    def _demand_patience(self) -> None:
        if self._silence is not None:
            raise PlatformError(self._silence)

    def _given_up(self) -> PlatformError:
        pid = self._process.pid
        self._silence = (
            f"the guard (pid {pid}) does not answer, waited {self._patience:g} s: stopping; end it "
            f"if it does not end by itself (sudo kill -KILL {pid}), and start the router again"
        )
        self._is_gone = True
        self._channel.end()
        return PlatformError(self._silence)

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
        self._demand_patience()
        try:
            answer, descriptors = self._channel.receive()
        except TimeoutError as error:
            raise self._given_up() from error
        except (EOFError, ConnectionError) as error:
            self._is_gone = True
            raise PlatformError(GONE) from error
        if "refused" in answer:
            raise PlatformError(answer["refused"])
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return Message(answer["value"], descriptors)


def _goes(file: Path) -> bool:
    """Whether it is gone soon."""
    deadline = time.monotonic() + UNDOING
    while file.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True
