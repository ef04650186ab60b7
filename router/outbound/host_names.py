"""Host names resolved beside the loop.

Theory of operation. The guard starts a program that resolves one name and writes the result into a
pipe; the router itself may start neither a process nor a thread.

Always true: one name at a time is being resolved; each request is answered once, within PATIENCE
seconds of its turn.

Must not know: what the names are for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final, Protocol

from router.platform.base.descriptors import HasFileno
from router.platform.base.errors import PlatformError
from router.platform.base.processes import Pipe
from router.platform.base.starts import PacedStarts
from router.platform.host_names import LIFETIME, Resolved, parse

PATIENCE: Final = LIFETIME + 5.0
MOST_BYTES: Final = 1 << 16

Start = Callable[[str, Callable[[Pipe | PlatformError], None]], None]
"""See Processes.start_resolver."""
Done = Callable[[Resolved], None]


class Watcher(Protocol):
    """The part of the event loop that is needed here; see router.engine.loop."""

    now: float

    def watch(self, source: HasFileno, readable: Callable[[], None]) -> None: ...

    def forget(self, source: HasFileno) -> None: ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...


class HostNames:
    """See the header."""

    def __init__(self, start: Start, watcher: Watcher) -> None:
        self._start = start
        self._watcher = watcher
        # The first of them is being resolved.
        self._requests: deque[tuple[str, Done]] = deque()
        self._line = b""
        self._starts = PacedStarts(watcher)

    def resolve(self, host: str, done: Done) -> None:
        """Call `done` with the result: later, or at once where the guard is gone."""
        self._requests.append((host, done))
        if len(self._requests) == 1:
            self._begin()

    def _begin(self) -> None:
        self._line = b""
        host = self._requests[0][0]
        self._starts.when_allowed(lambda: self._start(host, self._started))

    def _started(self, pipe: Pipe | PlatformError) -> None:
        if isinstance(pipe, PlatformError):
            self._answer(Resolved((), str(pipe)))
            return
        request = self._requests[0]
        self._watcher.watch(pipe, partial(self._read, pipe, request))
        self._watcher.call_later(PATIENCE, partial(self._end, pipe, request))

    def _read(self, pipe: Pipe, request: tuple[str, Done]) -> None:
        try:
            data = pipe.read()
        except BlockingIOError:
            return
        self._line += data
        if not data or len(self._line) > MOST_BYTES:
            self._watcher.call_later(0.0, partial(self._end, pipe, request))

    def _end(self, pipe: Pipe, request: tuple[str, Done]) -> None:
        """From a timer, so that the pipe may be closed; of a request that is over already nothing
        is left."""
        if not self._requests or self._requests[0] is not request:
            return
        self._watcher.forget(pipe)
        pipe.close()
        self._answer(parse(self._line))

    def _answer(self, resolved: Resolved) -> None:
        _, done = self._requests.popleft()
        if self._requests:
            self._begin()
        done(resolved)
