"""The server of the control socket: questions to the running router, answered beside its packets.

Theory of operation. One connection is one question and its answer:

    request    one line of JSON, {"command": NAME, ...}, at most LONGEST_REQUEST bytes
    answer     one JSON text, and the end of the connection; {"error": MESSAGE} where there is none

`commands` says by NAME which function answers. It is called with an Answer: the members of the
request, and `reply`, to be called once, at once or whenever there is something to say. A reply is
an iterable of pieces. One piece is asked for in a round of the loop, for one client, and the next
only when the client has taken the one before: so a function that makes small pieces holds up no
packet, however much it has to say and however slowly it is read.

Always true: nothing here waits; there are at most MOST_CLIENTS, and whoever gets no step further
(a request, a piece) for PATIENCE seconds is sent away; what a client sends is obeyed or refused
with a sentence that says why; a client that leaves ends nothing but its own answer.

Must not know: what the commands mean, or who may connect (the socket's mode says that).
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from router.control import connection
from router.control.connection import Answer, Conversation, error
from router.platform.base.descriptors import HasFileno

MOST_CLIENTS: Final = 8
PATIENCE: Final = 5.0
LOOK_AROUND: Final = 1.0
"""Seconds between two looks at who has used up the patience."""

Commands = Mapping[str, Callable[[Answer], None]]


class Watcher(connection.Watcher, Protocol):
    """The part of the event loop that is needed here; see router.engine.loop."""

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
        watcher.call_later(LOOK_AROUND, self._look_around)

    def close(self) -> None:
        """Leave everybody. The loop has to have ended."""
        for client in list(self._clients):
            client.close()
        self._listener.close()

    def _accept(self) -> None:
        """One in a round: whoever connects again and again costs the packets no more than that."""
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return
        except OSError:  # no descriptor is left, which would be said again at once and for ever
            self._watcher.forget(self._listener)
            self._watcher.call_later(LOOK_AROUND, self._accept_again)
            return
        sock.setblocking(False)
        if len(self._clients) < MOST_CLIENTS:
            self._clients.add(
                Conversation(
                    sock, self._watcher, self._answer, self._may_advance, self._clients.discard
                )
            )
            return
        with contextlib.suppress(OSError), sock:
            sock.send(error(f"{MOST_CLIENTS} others are asking already: try again in a moment"))

    def _accept_again(self) -> None:
        self._watcher.watch(self._listener, self._accept)

    def _answer(self, client: Conversation) -> None:
        name = client.request.get("command")
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            known = ", ".join(sorted(self._commands))
            client.refuse(f"there is no command {json.dumps(name)}; this router knows: {known}")
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

    def _look_around(self) -> None:
        for client in list(self._clients):
            client.close_if_late(PATIENCE)
        self._watcher.call_later(LOOK_AROUND, self._look_around)
