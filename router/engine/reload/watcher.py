"""The router's end of the program that watches the rules (router.engine.reload.watch).

Always true: a saved file is read as by `reload`; where the program ends it is started again, and
the rules are read once more, since a change may have gone unseen.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, Protocol

from router.platform.base.descriptors import HasFileno
from router.platform.base.errors import PlatformError
from router.platform.base.processes import Pipe, Processes
from router.platform.reason import reason

log = logging.getLogger(__name__)

RETRY: Final = 2.0
"""Seconds."""


class Loop(Protocol):
    """The part of the event loop that is needed here; see router.engine.loop."""

    def watch(self, source: HasFileno, readable: Callable[[], None]) -> None: ...
    def forget(self, source: HasFileno) -> None: ...
    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...


class Watcher:
    """pipe: the output of the program; this closes it. changed: called when the rules are to be
    read again."""

    def __init__(
        self, pipe: Pipe, processes: Processes, loop: Loop, changed: Callable[[], None]
    ) -> None:
        self._processes = processes
        self._loop = loop
        self._changed = changed
        self._pipe: Pipe | None = pipe
        loop.watch(pipe, self._read)

    def close(self) -> None:
        """Which ends the program."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _read(self) -> None:
        assert self._pipe is not None, "only a pipe that is open is waited for"
        try:
            data = self._pipe.read()
        except BlockingIOError:
            return
        if data:
            self._changed()
        else:
            self._loop.call_later(0.0, self._ended)

    def _ended(self) -> None:
        """From a timer, so that the pipe may be forgotten."""
        if self._pipe is None:
            return
        self._loop.forget(self._pipe)
        self.close()
        self._failed("it has ended")

    def _failed(self, why: str) -> None:
        log.warning(
            "the program that watches the rules does not run (%s): starting it in %.0f s; until "
            "then use `reload`",
            *(why, RETRY),
        )
        self._loop.call_later(RETRY, lambda: self._processes.guard().when_free(self._start))

    def _start(self, refusal: PlatformError | None) -> None:
        try:
            if refusal is not None:
                raise refusal
            self._pipe = self._processes.start_watch()
        except (PlatformError, OSError) as error:
            self._failed(reason(error))
            return
        self._loop.watch(self._pipe, self._read)
        self._changed()
