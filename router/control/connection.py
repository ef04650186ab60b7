"""One client of the control socket: its request, and its answer piece by piece.

What may happen in a stage:

    READING_REQUEST     the request is read; it is complete, or refused, or nothing comes any more
    WAITING    the command has it, and replies when it has something to say
    SENDING_ANSWER    pieces of the answer are sent, each when the one before is gone; to a client
               that follows without end
    OVER       the connection is closed; whatever is replied now goes nowhere

Always true: at most one piece of an answer is kept; a client that does not read costs nothing.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from enum import Enum, auto
from typing import Any, Final, Protocol

from router.control.follow import Feed, Wake
from router.control.protocol import FOLLOWING, error, too_old
from router.platform.base.descriptors import BROKEN, HasFileno

LONGEST_REQUEST: Final = 4096
"""Bytes, its newline included."""


class Answer(Protocol):
    """What a command is given. request: the members of the request."""

    request: Mapping[str, Any]

    def reply(self, pieces: Iterable[bytes]) -> None:
        """Send a JSON text, once; nothing happens when the client has left meanwhile.

        The pieces are produced one by one, as the client takes them. That must not raise.
        """
        ...

    def follow(self, feed: Callable[[Wake], Feed]) -> None:
        """Send lines until the client leaves, instead of one answer. feed: called with what tells
        that there is something again."""
        ...

    def refuse(self, why: str) -> None:
        """Send an error instead: what is wrong, and what to do about it."""
        ...


class Watcher(Protocol):
    """The part of the event loop that connections need; see router.engine.loop."""

    now: float

    def watch_changes(self, source: HasFileno, changed: Callable[[int], None]) -> None: ...

    def forget_changes(self, source: HasFileno) -> None: ...


class Stage(Enum):
    """See above."""

    READING_REQUEST = auto()
    WAITING = auto()
    SENDING_ANSWER = auto()
    OVER = auto()


class Conversation:
    """An Answer, and the connection that it goes by.

    sock: non-blocking; closed in the end.
    requested: called once there is a request. due: called when `advance` is to be called.
    over: called at the end. may_follow: why a client may not follow at present; None if it may.
    """

    def __init__(
        self,
        sock: socket.socket,
        watcher: Watcher,
        requested: Callable[[Conversation], None],
        due: Callable[[Conversation], None],
        over: Callable[[Conversation], None],
        may_follow: Callable[[], str | None],
    ) -> None:
        self.request: Mapping[str, Any] = {}
        self.is_following = False
        self._socket = sock
        self._watcher = watcher
        self._requested = requested
        self._due = due
        self._over = over
        self._may_follow = may_follow
        self._stage = Stage.READING_REQUEST
        self._last_step = watcher.now
        self._received = b""
        self._pieces: Iterator[bytes | None] = iter(())
        self._rest = memoryview(b"")
        self._has_nothing = False
        self._held_up = False
        watcher.watch_changes(sock, self._changed)

    def reply(self, pieces: Iterable[bytes]) -> None:
        """See Answer."""
        self._begin(iter(pieces))

    def follow(self, feed: Callable[[Wake], Feed]) -> None:
        """See Answer."""
        refusal = too_old(self.request, "following", FOLLOWING) or self._may_follow()
        if refusal is not None:
            self.refuse(refusal)
        elif self._stage is Stage.WAITING:
            self.is_following = True
            self._begin(feed(self._wake))

    def refuse(self, why: str) -> None:
        """See Answer."""
        self.reply([error(why)])

    def advance(self) -> None:
        """Send what is left of a piece, or the next one."""
        if self._stage is not Stage.SENDING_ANSWER:
            return
        if not self._rest and not self._take_piece():
            return
        try:
            self._rest = self._rest[self._socket.send(self._rest) :]
        except BlockingIOError:
            self._held_up = True
            return
        except OSError:
            self.close()
            return
        if not self._rest:
            self._last_step = self._watcher.now
        self._due(self)

    def close_if_late(self, patience: float) -> None:
        """Close a connection without progress for so many seconds, unless the next step is ours."""
        late = self._watcher.now - self._last_step >= patience
        if late and self._stage is not Stage.WAITING and not self._has_nothing:
            self.close()

    def close(self) -> None:
        """End it, wherever it is."""
        if self._stage is not Stage.OVER:
            self._stage = Stage.OVER
            self._watcher.forget_changes(self._socket)
            self._socket.close()
            if isinstance(self._pieces, Generator):
                self._pieces.close()
            self._over(self)

    def _begin(self, pieces: Iterator[bytes | None]) -> None:
        if self._stage is Stage.WAITING:
            self._stage = Stage.SENDING_ANSWER
            self._last_step = self._watcher.now
            self._pieces = pieces
            self._due(self)

    def _take_piece(self) -> bool:
        """Have the next one made; whether there is one."""
        try:
            piece = next(self._pieces)
        except StopIteration:
            self.close()
            return False
        self._has_nothing = piece is None
        self._rest = memoryview(piece or b"")
        return piece is not None

    def _wake(self) -> None:
        """A feed may have something again."""
        if self._has_nothing:
            self._has_nothing = False
            self._last_step = self._watcher.now
            self._due(self)

    def _changed(self, event: int) -> None:
        if self._stage is Stage.READING_REQUEST:
            self._read()
        elif event & BROKEN:
            self.close()
        elif self._held_up:
            self._held_up = False
            self._due(self)

    def _read(self) -> None:
        """All there is: it is not reported again."""
        while self._stage is Stage.READING_REQUEST:
            try:
                data = self._socket.recv(LONGEST_REQUEST + 1 - len(self._received))
            except BlockingIOError:
                return
            except OSError:
                self.close()
                return
            self._received += data
            if not data or b"\n" in data or len(self._received) > LONGEST_REQUEST:
                self._take_request()

    def _take_request(self) -> None:
        line, newline, behind = self._received.partition(b"\n")
        self._received = b""
        self._stage = Stage.WAITING
        self._last_step = self._watcher.now
        if not newline and len(line) <= LONGEST_REQUEST:
            self.refuse("the request ended before its line did: end it with a newline")
        elif len(line) >= LONGEST_REQUEST:
            self.refuse(f"the request is longer than {LONGEST_REQUEST} bytes")
        elif behind:
            self.refuse("there is something behind the request: send one request a connection")
        else:
            self._understand(line)

    def _understand(self, line: bytes) -> None:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            request = None
        if isinstance(request, dict):
            self.request = request
            self._requested(self)
        else:
            self.refuse(
                'the request is not a JSON object on one line, such as {"command": "status"}'
            )
