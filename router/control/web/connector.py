"""Connections to the control socket for a process that may not open it.

The server sends a request over a socket pair, one message each; the connector connects, sends the
request on, and passes the connection back (unix(7), SCM_RIGHTS), or `{"error": …}`.

Always true: only READS are passed on, so a server that was taken over changes nothing; replies come
in the order of requests.

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
from router.platform.reason import reason

READS: Final = frozenset({"status", "flows", "events", "explain"})
REFUSED: Final = "the web process may send no such request"
BUSY: Final = "too many requests at a time: try again in a moment"


def serve_connections(channel: socket.socket, tun: str | None, ends: list[HasFileno | int]) -> None:
    """The connector, until the server has ended or one of `ends` is readable."""
    while True:
        ready, _, _ = select.select([channel, *ends], [], [])
        if ready != [channel]:
            return
        try:
            request = channel.recv(LONGEST_REQUEST)
            if not request:
                return
            _pass_on(channel, tun, request)
        except OSError:
            return


def _pass_on(channel: socket.socket, tun: str | None, request: bytes) -> None:
    """Raises OSError where the server has ended."""
    try:
        with _begun(tun, request) as sock:
            socket.send_fds(channel, [b"{}"], [sock.fileno()])
    except (NoAnswerError, PlatformError) as error:
        channel.send(json.dumps({"error": str(error)}).encode())


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
        self._waiting: deque[asyncio.Future[socket.socket]] = deque()

    def start(self) -> None:
        """In the running event loop."""
        asyncio.get_running_loop().add_reader(self._channel, self._receive)

    async def open(self, request: Mapping[str, Any]) -> socket.socket:
        """A connection on which the answer to a request comes. Raises NoAnswerError."""
        future = asyncio.get_running_loop().create_future()
        try:
            self._channel.send(json.dumps(request).encode())
        except BlockingIOError as error:
            raise NoAnswerError(BUSY) from error
        except OSError as error:
            raise NoAnswerError(f"the connector is gone: {reason(error)}") from error
        self._waiting.append(future)
        sock: socket.socket = await future
        return sock

    def _receive(self) -> None:
        try:
            message, descriptors, _, _ = socket.recv_fds(self._channel, LONGEST_REQUEST, 1)
        except BlockingIOError:
            return
        except OSError:
            message, descriptors = b"", []
        if not message:
            asyncio.get_running_loop().remove_reader(self._channel)
            self._ended()
            return
        sockets = [socket.socket(fileno=each) for each in descriptors]
        waiting = self._waiting.popleft()
        if waiting.cancelled():  # its client has closed the connection meanwhile
            for each in sockets:
                each.close()
        elif sockets:
            waiting.set_result(sockets[0])
        else:
            waiting.set_exception(NoAnswerError(_error_in(message)))


def _error_in(message: bytes) -> str:
    with contextlib.suppress(ValueError, KeyError):
        return str(json.loads(message)["error"])
    return "the connection could not be passed on: are descriptors left (`ulimit -n`)?"
