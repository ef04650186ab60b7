"""Two connected TCP sockets as if they were one connection.

Theory of operation. A relay is two directions. A direction moves what its source has received to
its sink through a buffer (`outbound.buffers`), which is borrowed for as long as it holds something;
so an idle connection costs its two sockets and nothing else, and what a sink does not take waits in
one buffer, while the source fills its window and stops.

Always true:
- The end of what a source sends is passed on behind the last byte, and the other direction goes on
  (half-close). When both have ended, both sockets are closed, and the kernel delivers the rest.
- A reset, or any other failure of one socket, resets the other at once, after what was received
  before it: no FIN for a connection that broke, and no TIME_WAIT either; also when it breaks after
  it has ended in that direction.
- An urgent byte (RFC 9293, section 3.8.5) is sent on as one, between the same bytes. It stands in
  line, so one that a buffer takes before it is noticed is merely not urgent. splice(2) stops there,
  and it is notified after that, so it is looked for only then, and at the end; where there is no
  splice(2), whenever a buffer is to be filled.
- One turn moves at most one buffer full each way, so that no connection starves another.

Must not know: packets, flows, what a side is for.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from enum import Enum, auto
from functools import partial

from router.outbound.buffers import BufferPool, UrgentByte
from router.platform.base.descriptors import BROKEN, READABLE, URGENT
from router.platform.base.tcp import RelayBuffer
from router.platform.tcp_socket import reset_on_close, take_error


class End(Enum):
    """How a relay ended."""

    CLOSED = auto()
    """Both sides have ended."""
    INNER_BROKE = auto()
    """The inner socket was reset or failed."""
    OUTER_BROKE = auto()
    """The outer socket was, or `reset` was called: the inner one has been reset."""


DecideEnd = Callable[[Callable[[bool], None]], None]
"""See Outbound.on_empty_end."""


class _Direction:
    """From one socket to the other.

    on_empty_end: called, once, in place of passing on an end before which nothing was moved.
    holds_end: whether such an end is not to be passed on yet.
    ended: whether the end has been passed on to the sink.
    urgent: whether an urgent byte may be on its way.
    """

    __slots__ = (
        "_buffer",
        "_pool",
        "_sink",
        "_source",
        "ended",
        "holds_end",
        "on_empty_end",
        "urgent",
    )

    def __init__(self, source: socket.socket, sink: socket.socket, pool: BufferPool) -> None:
        self.ended = self.holds_end = self.urgent = False
        self._source = source
        self._sink = sink
        self._pool = pool
        self._buffer: RelayBuffer | None = None
        self.on_empty_end: Callable[[], None] | None = None

    @property
    def is_held_up(self) -> bool:
        """Whether something waits for the sink."""
        return self._buffer is not None

    def move(self) -> bool:
        """One turn; whether there may be more to do at once. Raises _Broken."""
        if self.ended or self.holds_end:
            return False
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = self._next_buffer()
        try:
            if not buffer.held and not self._fill(buffer):
                return self.urgent
            return self._drain(buffer)
        finally:
            if not buffer.held:
                self._pool.give_back(buffer)
                self._buffer = None

    def has_failed(self) -> bool:
        """Whether the source has failed since it ended, which reading it does not show."""
        return (self.ended or self.holds_end) and bool(take_error(self._source))

    def drop(self) -> None:
        """Give back what was borrowed."""
        if self._buffer is not None:
            self._pool.give_back(self._buffer)
            self._buffer = None

    def flush(self) -> None:
        """Send on what the source has received, as far as the sink takes it at once. The end of a
        broken source is not passed on as an end."""
        self.urgent = True  # for all that we know
        with contextlib.suppress(OSError, _Broken):
            while True:
                buffer = self._buffer = self._buffer or self._next_buffer()
                if not buffer.held and not buffer.fill(self._source):
                    return
                if not self._drain(buffer):
                    return
                self.drop()

    def _next_buffer(self) -> RelayBuffer:
        if (self.urgent or not self._pool.has_pipes) and self._pool.is_at_mark(self._source):
            self.urgent = False
            return UrgentByte()
        return self._pool.borrow()

    def _fill(self, buffer: RelayBuffer) -> bool:
        """Whether there is something to send on."""
        try:
            size = buffer.fill(self._source)
        except BlockingIOError:
            self.urgent = False
            return False
        except OSError as error:
            raise _Broken(self._source) from error
        if size:
            self.on_empty_end = None
            return True
        # Once the end has come, splice(2) finds it at an urgent byte already.
        is_byte = isinstance(buffer, UrgentByte)
        self.urgent = not is_byte and self._pool.is_at_mark(self._source)
        if self.urgent:
            return False
        if self.on_empty_end is not None:
            decide, self.on_empty_end = self.on_empty_end, None
            self.holds_end = True
            decide()
            return False
        self.ended = True
        try:
            self._sink.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise _Broken(self._sink) from error
        return False

    def _drain(self, buffer: RelayBuffer) -> bool:
        """Whether the sink took everything."""
        try:
            while buffer.held:
                buffer.drain(self._sink)
        except BlockingIOError:
            return False
        except OSError as error:
            raise _Broken(self._sink) from error
        return True


class _Broken(Exception):
    """A socket failed."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__()
        self.socket = sock


class Relay:
    """Relays until both sides have ended or one has failed.

    inner, outer: the two sockets, non-blocking; the relay closes them.
    finished: called once, when both are closed.
    again: called when there is more to do at once; `turn` is to be called in the next round.
    decide_end: called when the outer socket ends before a byte came from it; that is passed on, as
    an end or as a reset, when it has called back.
    """

    def __init__(
        self,
        inner: socket.socket,
        outer: socket.socket,
        pool: BufferPool,
        finished: Callable[[End], None],
        again: Callable[[Callable[[], None]], None],
        decide_end: DecideEnd | None = None,
    ) -> None:
        self.inner = inner
        self.outer = outer
        self._finished = finished
        self._again = again
        self._outward = _Direction(inner, outer, pool)
        self._inward = _Direction(outer, inner, pool)
        if decide_end is not None:
            self._inward.on_empty_end = partial(decide_end, self._end_decided)
        self._outward_due = self._inward_due = False
        self._waiting = False
        self._over = False

    def inner_changed(self, event: int) -> None:
        """The inner socket has become readable, writable or broken."""
        if event & BROKEN and self._outward.has_failed():
            self._break(self.inner)
            return
        if event & URGENT:
            self._outward.urgent = True
        self._due(
            outward=bool(event & (READABLE | URGENT | BROKEN)),
            inward=self._inward.is_held_up,
        )

    def outer_changed(self, event: int) -> None:
        """The outer socket has."""
        if event & BROKEN and self._inward.has_failed():
            self._break(self.outer)
            return
        if event & URGENT:
            self._inward.urgent = True
        self._due(
            outward=self._outward.is_held_up,
            inward=bool(event & (READABLE | URGENT | BROKEN)),
        )

    def turn(self) -> None:
        """Move what is due."""
        self._waiting = False
        if self._over:
            return
        try:
            if self._inward_due:
                self._inward_due = self._inward.move()
            if self._outward_due:
                self._outward_due = self._outward.move()
        except _Broken as broken:
            self._break(broken.socket)
            return
        if self._inward.ended and self._outward.ended:
            self._close(End.CLOSED)
        elif self._inward_due or self._outward_due:
            self._waiting = True
            self._again(self.turn)

    def reset(self) -> None:
        """End it at once, for both sides."""
        if not self._over:
            self._close(End.OUTER_BROKE)

    def _end_decided(self, is_reset: bool) -> None:
        """Perhaps in the midst of a turn, so what follows waits for the next."""
        self._again(partial(self._end_empty, is_reset=is_reset))

    def _end_empty(self, *, is_reset: bool) -> None:
        if is_reset:
            self.reset()
        elif not self._over:
            self._inward.holds_end = False
            self._due(outward=False, inward=True)

    def _due(self, *, outward: bool, inward: bool) -> None:
        self._outward_due |= outward
        self._inward_due |= inward
        if (self._outward_due or self._inward_due) and not self._waiting:
            self.turn()

    def _break(self, broken: socket.socket) -> None:
        """One of the two has failed."""
        inner = broken is self.inner
        (self._outward if inner else self._inward).flush()
        self._close(End.INNER_BROKE if inner else End.OUTER_BROKE)

    def _close(self, how: End) -> None:
        self._over = True
        self._outward.drop()
        self._inward.drop()
        if how is not End.CLOSED:
            reset_on_close(self.inner)
            reset_on_close(self.outer)
        self._finished(how)
        self.inner.close()
        self.outer.close()
