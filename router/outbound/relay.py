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
- An urgent byte (RFC 9293, section 3.8.5) is sent on as one, between the same bytes. splice(2)
  stops there, and it is notified after that, so it is looked for only then, and at the end; a
  buffer without splice(2) looks for it whenever it is filled.
- One turn moves at most one buffer full each way, so that no connection starves another. A source
  that so little came from that it must be empty is not read again before it is reported.

Must not know: packets, flows, what a side is for.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from enum import Enum, auto
from functools import partial
from typing import Final

from router.outbound.buffers import BufferPool, MemoryBuffer
from router.platform.base.descriptors import BROKEN, ENDED, READABLE, URGENT
from router.platform.base.tcp import RelayBuffer
from router.platform.tcp_socket import reset_on_close, take_error

INPUT: Final = READABLE | URGENT | BROKEN


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
    urgent: whether an urgent byte may be on its way. at_end: whether the source has ended or is
    broken, so that there is more to be read than bytes.
    buffer: what waits for the sink. due: whether there may be something to do.
    """

    __slots__ = (
        "_pool",
        "_sink",
        "_source",
        "at_end",
        "buffer",
        "due",
        "ended",
        "holds_end",
        "on_empty_end",
        "urgent",
    )

    def __init__(self, source: socket.socket, sink: socket.socket, pool: BufferPool) -> None:
        self.ended = self.holds_end = self.urgent = self.at_end = self.due = False
        self._source = source
        self._sink = sink
        self._pool = pool
        self.buffer: RelayBuffer | None = None
        self.on_empty_end: Callable[[], None] | None = None

    @property
    def is_held_up(self) -> bool:
        """Whether something waits for the sink."""
        return self.buffer is not None

    def move(self) -> bool:
        """One turn; whether there may be more to do at once. Raises _Broken."""
        if self.ended or self.holds_end:
            return False
        buffer = self.buffer
        if buffer is None:
            buffer = self.buffer = self._next_buffer()
        try:
            if buffer.held:
                return self._drain(buffer)  # the source may have been reported meanwhile
            if not self._fill(buffer):
                return self.urgent
            was_all = buffer.held < buffer.least_full and not (self.at_end or self.urgent)
            return self._drain(buffer) and not was_all
        finally:
            if not buffer.held:
                self._pool.give_back(buffer)
                self.buffer = None

    def has_failed(self) -> bool:
        """Whether the source has failed since it ended, which reading it does not show."""
        return (self.ended or self.holds_end) and bool(take_error(self._source))

    def drop(self) -> None:
        """Give back what was borrowed."""
        if self.buffer is not None:
            self._pool.give_back(self.buffer)
            self.buffer = None

    def flush(self) -> None:
        """Send on what the source has received, as far as the sink takes it at once. The end of a
        broken source is not passed on as an end."""
        self.urgent = True  # for all that we know
        with contextlib.suppress(OSError, _Broken):
            while True:
                buffer = self.buffer = self.buffer or self._next_buffer()
                if not buffer.held and not buffer.fill(self._source):
                    return
                if not self._drain(buffer):
                    return
                self.drop()

    def _next_buffer(self) -> RelayBuffer:
        if self.urgent and self._pool.is_at_mark(self._source):
            self.urgent = False
            return self._pool.in_memory()
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
        is_end = isinstance(buffer, MemoryBuffer)
        self.urgent = not is_end and self._pool.is_at_mark(self._source)
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
        self._waiting = False
        self._over = False

    def inner_changed(self, event: int) -> None:
        """The inner socket has become readable, writable or broken."""
        self._changed(event, self.inner, self._outward, self._inward)

    def outer_changed(self, event: int) -> None:
        """The outer socket has."""
        self._changed(event, self.outer, self._inward, self._outward)

    def turn(self) -> None:
        """Move what is due."""
        self._waiting = False
        if self._over:
            return
        inward, outward = self._inward, self._outward
        try:
            if inward.due:
                inward.due = inward.move()
            if outward.due:
                outward.due = outward.move()
        except _Broken as broken:
            self._break(broken.socket)
            return
        if inward.ended and outward.ended:
            self._close(End.CLOSED)
        elif inward.due or outward.due:
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
            self._inward.due = True
            if not self._waiting:
                self.turn()

    def _changed(
        self, event: int, sock: socket.socket, reads: _Direction, writes: _Direction
    ) -> None:
        """reads, writes: the directions whose source and whose sink a socket is."""
        if event & (BROKEN | URGENT | ENDED):
            if event & BROKEN and reads.has_failed():
                self._break(sock)
                return
            if event & URGENT:
                reads.urgent = True
            if event & (BROKEN | ENDED):
                reads.at_end = True
        if event & INPUT:
            reads.due = True
        if writes.buffer is not None:
            writes.due = True
        elif not reads.due:
            return
        if not self._waiting:
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
