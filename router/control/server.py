"""The server of the control socket: requests to the running router, answered beside its packets.

Theory of operation. One connection is one request and its answer:

    request    one line of JSON, {"command": NAME, ...}, at most LONGEST_REQUEST bytes
    answer     one JSON text, and the end of the connection; {"error": MESSAGE} where there is none;
               to a client that follows, one JSON object a line until it leaves

`commands` maps NAME to the function that answers. It is called with an Answer: the members of the
request, and `reply`, to be called once, at once or later. A reply is an iterable of pieces. One
piece is produced in a round of the loop, for one client, and the next only when the client has
taken the one before: so a function that makes small pieces delays no packet, however long its
answer is and however slowly it is read.

Always true: nothing here waits; there are at most MOST_CLIENTS and MOST_FOLLOWERS, and a connection
without progress (a request, a piece) for PATIENCE seconds, of a follower for FOLLOWER_PATIENCE, is
closed; what `protocol` refuses reaches no command; a request is answered, or refused with a
sentence that gives the reason; a client that closes ends nothing but its own answer.

Must not know: what the commands mean, or which users may connect (the socket's mode decides).
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from router.control import connection
from router.control.connection import Answer, Conversation
from router.control.protocol import error, refusal
from router.platform.base.descriptors import HasFileno

MOST_CLIENTS: Final = 8
MOST_FOLLOWERS: Final = 8
PATIENCE: Final = 5.0
FOLLOWER_PATIENCE: Final = 60.0
"""Seconds. Longer: a pager, or a program that is stopped at its terminal, reads nothing either."""
CHECK_INTERVAL: Final = 1.0
"""Seconds between two checks for connections without progress."""

Commands = Mapping[str, Callable[[Answer], None]]


class Watcher(connection.Watcher, Protocol):
    """The part of the event loop that the server needs; see router.engine.loop."""

    def watch(self, source: HasFileno, readable: Callable[[], None]) -> None: ...

    def forget(self, source: HasFileno) -> None: ...

    def call_soon(self, callback: Callable[[], None]) -> None: ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...


class Server:
    """Serves a listening socket, non-blocking, which it closes in the end."""

    def __init__(self, listener: socket.socket, watcher: Watcher, commands: Commands) -> None:
        self._listener = listener
        self._watcher = watcher
        self._commands = commands
        self._clients: set[Conversation] = set()
        self._due: deque[Conversation] = deque()
        self._turn_is_coming = False
        watcher.watch(listener, self._accept)
        watcher.call_later(CHECK_INTERVAL, self._close_stalled)

    def close(self) -> None:
        """Close every connection. The loop has ended."""
        for client in list(self._clients):
            client.close()
        self._listener.close()

    def _accept(self) -> None:
        """One in a round, so that a client that connects again and again delays packets no more."""
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptor is left, which would be reported again at once
            self._watcher.forget(self._listener)
            self._watcher.call_later(CHECK_INTERVAL, self._accept_again)
            return
        sock.setblocking(False)
        if len(self._clients) - self._followers < MOST_CLIENTS:
            over = self._clients.discard
            client = Conversation(
                *(sock, self._watcher, self._answer, self._may_advance, over, self._may_follow)
            )
            self._clients.add(client)
            return
        with contextlib.suppress(OSError), sock:
            sock.send(error(f"{MOST_CLIENTS} others are asking already: try again in a moment"))

    def _accept_again(self) -> None:
        self._watcher.watch(self._listener, self._accept)

    @property
    def _followers(self) -> int:
        return sum(client.is_following for client in self._clients)

    def _may_follow(self) -> str | None:
        if self._followers < MOST_FOLLOWERS:
            return None
        return f"{MOST_FOLLOWERS} others are following already: end one of them"

    def _answer(self, client: Conversation) -> None:
        refused = refusal(client.request)
        if refused is not None:
            client.refuse(refused)
            return
        name = client.request.get("command")
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            known = ", ".join(sorted(self._commands))
            client.refuse(f"there is no command {json.dumps(name)}; this router has: {known}")
        else:
            command(client)

    def _may_advance(self, client: Conversation) -> None:
        self._due.append(client)
        self._have_a_turn()

    def _turn(self) -> None:
        """One client a round, each in its turn."""
        self._turn_is_coming = False
        self._due.popleft().advance()
        if self._due:
            self._have_a_turn()

    def _have_a_turn(self) -> None:
        if not self._turn_is_coming:
            self._turn_is_coming = True
            self._watcher.call_soon(self._turn)

    def _close_stalled(self) -> None:
        for client in list(self._clients):
            client.close_if_late(FOLLOWER_PATIENCE if client.is_following else PATIENCE)
        self._watcher.call_later(CHECK_INTERVAL, self._close_stalled)
