"""Connections to the control socket for a process that may not open it.

The server sends a request, one line; the connector connects, sends the request on, and passes the
connection back (unix(7), SCM_RIGHTS) with the line `{}`, or `{"error": …}`. The server acknowledges
a connection by an empty line: until then the connector keeps its copy, since on macOS a descriptor
that its sender closes may be closed to the receiver too (see privileged.guard).

Always true: only READS are passed on, so a server that was taken over changes nothing; no request
is sent before the one before it is answered, so an answer is one line with one descriptor at most
(macOS has no sequenced packets between processes, kern/uipc_proto.c).

Must not know: what the answers say.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import select
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from router.control.client import NoAnswerError, begun, find_router
from router.control.connection import LONGEST_REQUEST
from router.platform.base.descriptors import HasFileno
from router.platform.base.errors import PlatformError
from router.platform.privileged.channel import receive_first, send_first

READS: Final = frozenset({"status", "flows", "events", "explain"})
MOST_WAITING: Final = 64
"""Requests; each takes the time of one connection."""
ROOM: Final = 4 * LONGEST_REQUEST
"""Bytes on their way; more than a request and what acknowledges the answer before it."""
NO_ROOM: Final = "the connection could not be passed on: are descriptors left (`ulimit -n`)?"
REFUSED: Final = "the web process may send no such request"
TOO_LONG: Final = f"the request is longer than {LONGEST_REQUEST} bytes"
GONE: Final = "the connector is gone"
BUSY: Final = "too many requests at a time: try again in a moment"


def connector_channel() -> tuple[socket.socket, socket.socket]:
    """The connector's end, and the server's. Raises OSError."""
    pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    for each in pair:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
    return pair


def serve_connections(channel: socket.socket, tun: str | None, ends: list[HasFileno | int]) -> None:
    """The connector, until the server has ended or one of `ends` is readable."""
    received = b""
    with contextlib.ExitStack() as passed:
        while True:
            ready, _, _ = select.select([channel, *ends], [], [])
            if ready != [channel]:
                return
            try:
                piece = channel.recv(ROOM)
                *lines, received = (received + piece).split(b"\n")
                if not piece or len(received) > LONGEST_REQUEST:
                    return
                for line in lines:
                    passed.close()
                    if line:
                        passed.enter_context(_pass_on(channel, tun, line))
            except OSError:
                return


def _pass_on(
    channel: socket.socket, tun: str | None, request: bytes
) -> contextlib.AbstractContextManager[object]:
    """What is to be kept until the server has it. Raises OSError where the server has ended."""
    try:
        sock = _begun(tun, request)
    except (NoAnswerError, PlatformError) as error:
        channel.sendall(json.dumps({"error": str(error)}).encode() + b"\n")
        return contextlib.nullcontext()
    send_first(channel, b"{}\n", [sock.fileno()])
    return sock


def _begun(tun: str | None, request: bytes) -> socket.socket:
    """Raises NoAnswerError, PlatformError."""
    try:
        members = json.loads(request)
    except (ValueError, RecursionError):
        members = None
    if not isinstance(members, dict) or members.get("command") not in READS:
        raise NoAnswerError(REFUSED)
    return begun(find_router(tun), members)


class Connections:
    """The server's end. ended: called when the connector is gone."""

    def __init__(self, channel: socket.socket, ended: Callable[[], None]) -> None:
        channel.setblocking(False)
        self._channel = channel
        self._ended = ended
        self._waiting: deque[tuple[bytes, asyncio.Future[socket.socket]]] = deque()
        """The first of them has been sent."""
        self._answer = b""
        self._passed: list[int] = []

    def start(self) -> None:
        """In the running event loop."""
        asyncio.get_running_loop().add_reader(self._channel, self._receive)

    async def open(self, request: Mapping[str, Any]) -> socket.socket:
        """A connection on which the answer to a request comes. Raises NoAnswerError."""
        if len(self._waiting) >= MOST_WAITING:
            raise NoAnswerError(BUSY)
        line = json.dumps(request).encode() + b"\n"
        if len(line) > LONGEST_REQUEST:
            raise NoAnswerError(TOO_LONG)
        future: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        self._waiting.append((line, future))
        if len(self._waiting) == 1:
            self._send_first()
        return await future

    def _send_first(self) -> None:
        """Of those that somebody still waits for."""
        while self._waiting:
            request, future = self._waiting[0]
            if not future.cancelled():
                try:
                    self._channel.send(request)
                except OSError:
                    future.set_exception(NoAnswerError(GONE))
                else:
                    return
            self._waiting.popleft()

    def _receive(self) -> None:
        try:
            answer, passed = receive_first(self._channel, ROOM, 1)
        except BlockingIOError:
            return
        except OSError:
            answer, passed = b"", []
        self._passed += passed
        self._answer += answer
        if not answer:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._channel.close()
            self._fail_all()
            self._ended()
        elif answer.endswith(b"\n"):
            self._answered()

    def _fail_all(self) -> None:
        while self._waiting:
            _, future = self._waiting.popleft()
            if not future.done():
                future.set_exception(NoAnswerError(GONE))

    def _answered(self) -> None:
        answer, sockets = self._answer, [socket.socket(fileno=each) for each in self._passed]
        self._answer, self._passed = b"", []
        with contextlib.suppress(OSError):
            self._channel.send(b"\n")
        _, future = self._waiting.popleft()
        if future.cancelled():  # its client has closed the connection meanwhile
            for each in sockets:
                each.close()
        elif sockets:
            future.set_result(sockets[0])
        else:
            future.set_exception(NoAnswerError(_error_in(answer)))
        self._send_first()


def _error_in(answer: bytes) -> str:
    with contextlib.suppress(ValueError, KeyError):
        return str(json.loads(answer)["error"])
    return NO_ROOM
