"""The router's end of the connection to the guard."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from router.platform.base.errors import PlatformError
from router.platform.privileged.channel import Channel, Message
from router.platform.privileged.guard import KEEPS_UNTIL_RECEIVED
from router.platform.privileged.handed_over import received
from router.platform.reason import reason

EXIT_TIMEOUT: Final = 15.0
"""Seconds in which the guard has to end; it needs a fraction of one."""
REPLY_TIMEOUT: Final = 10.0
"""Seconds in which a reply has to come; few need more than a thousandth of them."""
REPLY_TIMEOUTS: Final = {"open_tun": 60.0, "add_routes": 60.0, "reconcile": 60.0}
"""The same by operation: of what may concern a million routes, or wait for a former run's end."""
BRIEF: Final = 0.1
"""Seconds after which the guard is late: packets do not wait for its replies then."""
UNDO_TIMEOUT: Final = 3.0
"""Seconds in which the undoer of a guard that was killed has to end; it needs a fraction of one."""
POLL: Final = 0.01
GUARD_ENDED: Final = (
    "the guard, the process that undoes the router's changes, has been killed: stopping, and "
    "undoing them now; start the router again"
)
NOT_ALL_UNDONE: Final = (
    "some changes could not be undone; the lines above name them, and `sudo tunrouter cleanup` "
    "tries again"
)

T = TypeVar("T")

Done = Callable[[Message | Exception], None]
"""Called once with the reply to a request, or with PlatformError or OSError."""


class GuardClient:
    """Starts the guard, and sends it requests. See GuardConnection.

    module: the guard's program; `arguments` are passed to it. acknowledges: whether descriptors are
    acknowledged, see KEEPS_UNTIL_RECEIVED.

    Always true: no request is sent before the one before it is answered. The guard does not read
    while it writes, and either message may be longer than the socket's buffer, so two that are on
    their way at a time could block each other for ever. Only `call` and `close` wait for the guard;
    a router that runs calls it only when it has just answered (`when_free`).
    """

    def __init__(
        self, module: str, arguments: Sequence[str], *, acknowledges: bool = KEEPS_UNTIL_RECEIVED
    ) -> None:
        self._acknowledges = acknowledges
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=theirs.fileno(),
                start_new_session=True,
            )
        self._channel = Channel(ours)
        self._channel.enlarge()
        # Requests with a callback whose reply is outstanding; the first of them has been sent.
        self._pending: deque[tuple[Message, Done]] = deque()
        self._timeout = REPLY_TIMEOUT
        self._sent_at = 0.0
        self._has_ended = False
        # Why no more requests are sent although the process runs.
        self._timed_out: str | None = None

    def fileno(self) -> int:
        return self._channel.fileno()

    def call(self, operation: str, records: bytes = b"", /, **arguments: Any) -> Message:
        """Wait for the reply to an operation; `records` see Message. Raises PlatformError, OSError.

        A guard that does not reply in time is given up: the connection is shut down, so that
        `dispatch` raises too, and the guard undoes everything once it reads again.
        """
        while self._pending:
            self._complete_first()
        self._send(Message([operation, arguments], records=records))
        reply = self._receive()
        self._acknowledge(reply)
        return reply

    def begin(
        self, operation: str, records: bytes = b"", /, **arguments: Any
    ) -> Callable[[], Message]:
        """Send a request; what is returned waits for its reply. Both raise as `call` does."""
        replies: list[Message | Exception] = []
        self.request(operation, replies.append, records, **arguments)

        def finish() -> Message:
            while not replies:
                if not self._pending:  # another call has met the end of the guard
                    self._receive()
                self._complete_first()
            if isinstance(replies[0], Exception):
                raise replies[0]
            return replies[0]

        return finish

    def request(
        self, operation: str, done: Done, records: bytes = b"", /, **arguments: Any
    ) -> None:
        """Send a request without waiting: `dispatch`, or the next `call` before it returns, calls
        `done`. Raises PlatformError."""
        request = Message([operation, arguments], records=records)
        if not self._pending:
            self._send(request)
        self._pending.append((request, done))

    def request_unless_late(self, operation: str, done: Done, /, **arguments: Any) -> None:
        """The same for a packet that is held until then; BlockingIOError while a reply has been
        outstanding for BRIEF seconds. Raises PlatformError."""
        if self._pending and time.monotonic() > self._sent_at + BRIEF:
            raise BlockingIOError(errno.EAGAIN, "the guard is late")
        self.request(operation, done, **arguments)

    def dispatch(self) -> None:
        """See GuardConnection. Does not wait: a `call` may have read what made it readable."""
        if not self._channel.is_readable():
            return
        if self._pending:
            self._complete_first()
        else:
            self._receive()

    def when_free(self, done: Callable[[PlatformError | None], None]) -> None:
        """See GuardConnection."""

        def answered(reply: Message | Exception) -> None:
            done(None if isinstance(reply, Message) else PlatformError(reason(reply)))

        try:
            self.request("nothing", answered)
        except PlatformError as error:
            done(error)

    def check(self) -> None:
        """See GuardConnection. A reply that has come is not late, however late it is read: the
        router itself may have been halted meanwhile."""
        is_late = self._pending and time.monotonic() > self._sent_at + self._timeout
        if is_late and not self._channel.is_readable():
            error = self._give_up()
            while self._pending:
                _, done = self._pending.popleft()
                done(error)
            raise error

    def open_sockets(self, operation: str, **arguments: Any) -> Iterator[socket.socket]:
        """The sockets that an operation hands over: at least one, perhaps fewer than requested.
        Raises PlatformError, OSError."""
        yield from received(self.call(operation, **arguments))

    def open_socket(self, operation: str, **arguments: Any) -> socket.socket:
        """The one socket that an operation hands over. Raises PlatformError, OSError."""
        (only,) = self.open_sockets(operation, **arguments)
        return only

    def close(self, journal: Path | None) -> None:
        """Have everything undone.

        journal: the undoer's; its removal shows that the undoer of a guard that was killed is done.
        Raises PlatformError that names what is left to do.
        """
        self._channel.close()
        pid = self._process.pid
        try:
            status = self._process.wait(EXIT_TIMEOUT)
        except subprocess.TimeoutExpired as error:
            raise PlatformError(
                f"the guard (pid {pid}) has not ended within {EXIT_TIMEOUT:g} s, and not "
                f"everything is undone before it ends: end it (sudo kill -KILL {pid}); `sudo "
                "tunrouter cleanup` undoes what is left then"
            ) from error
        if status > 0:
            raise PlatformError(NOT_ALL_UNDONE)
        if status < 0 and journal is not None and not _is_removed_soon(journal):
            raise PlatformError(
                f"the guard was killed, and not everything is undone, see {journal}: "
                "`sudo tunrouter cleanup` undoes the rest; then start the router again"
            )

    def _send(self, request: Message) -> None:
        self._raise_if_timed_out()
        operation, _ = request.value
        self._timeout = REPLY_TIMEOUTS.get(operation, REPLY_TIMEOUT)
        self._sent_at = time.monotonic()
        self._channel.set_timeout(self._timeout)
        try:
            self._channel.send(request)
        except TimeoutError as error:
            raise self._give_up() from error
        except ConnectionError as error:
            raise PlatformError(GUARD_ENDED) from error

    def _raise_if_timed_out(self) -> None:
        if self._timed_out is not None:
            raise PlatformError(self._timed_out)

    def _give_up(self) -> PlatformError:
        pid = self._process.pid
        self._timed_out = (
            f"the guard (pid {pid}) has not replied within {self._timeout:g} s: stopping; end it "
            f"if it does not end by itself (sudo kill -KILL {pid}), and start the router again"
        )
        self._has_ended = True
        self._channel.shut_down()
        return PlatformError(self._timed_out)

    def _complete_first(self) -> None:
        """Wait for the reply to the first pending request, send the next, and call back."""
        _, done = self._pending.popleft()
        try:
            reply: Message | Exception = self._receive()
        except (PlatformError, OSError) as error:
            if self._has_ended:
                raise
            reply = error
        if self._pending:
            self._send(self._pending[0][0])
        else:
            self._acknowledge(reply)
        done(reply)

    def _acknowledge(self, reply: Message | Exception) -> None:
        """By another request, if none follows anyway."""
        if self._acknowledges and isinstance(reply, Message) and reply.descriptors:
            with contextlib.suppress(PlatformError):  # the next request, or `dispatch`, reports it
                self.request("nothing", lambda _: None)

    def _receive(self) -> Message:
        self._raise_if_timed_out()
        try:
            reply, descriptors, _ = self._channel.receive()
        except TimeoutError as error:
            raise self._give_up() from error
        except (EOFError, ConnectionError) as error:
            self._has_ended = True
            raise PlatformError(GUARD_ENDED) from error
        if "refused" in reply:
            raise PlatformError(reply["refused"])
        if "errno" in reply:
            raise OSError(reply["errno"], os.strerror(reply["errno"]))
        return Message(reply["value"], descriptors)


def value_callback(done: Callable[[T | PlatformError], None], read: Callable[[Any], T]) -> Done:
    """Call `done` with what `read` returns for the value of a reply, or with the error."""

    def call_back(reply: Message | Exception) -> None:
        if isinstance(reply, Message):
            done(read(reply.value))
        else:
            done(PlatformError(reason(reply)))

    return call_back


def socket_callback(done: Callable[[socket.socket | Exception], None]) -> Done:
    """Call `done` with the one socket of a reply, which it owns then, or with the error."""

    def call_back(reply: Message | Exception) -> None:
        if isinstance(reply, Exception):
            done(reply)
            return
        try:
            (only,) = received(reply)
        except OSError as error:
            done(error)
        else:
            done(only)

    return call_back


def _is_removed_soon(file: Path) -> bool:
    deadline = time.monotonic() + UNDO_TIMEOUT
    while file.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True
