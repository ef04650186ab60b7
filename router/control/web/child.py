"""The web process of a running router: started with it, by the guard, and again when it has ended.

Always true: at most one runs; one that ends is started again after a delay that grows while it
keeps ending; other rules start another one only where their `web` is different.

Must not know: what it serves.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol

from router.config.model import Config, Web
from router.control.explain import Watcher
from router.control.web.installed import not_installed
from router.engine.events import Events
from router.platform.base.errors import PlatformError
from router.platform.base.processes import Pipe, Processes

log = logging.getLogger(__name__)

FIRST: Final = 1.0
LONGEST: Final = 60.0
"""Seconds until it is started again; doubled each time, and the first again once it has run for the
longest."""


class HasProcesses(Protocol):
    """See router.platform.base.system."""

    @property
    def processes(self) -> Processes: ...


class Running(Protocol):
    """See router.engine.router."""

    @property
    def config(self) -> Config: ...

    @property
    def loop(self) -> Watcher: ...

    @property
    def system(self) -> HasProcesses: ...

    @property
    def events(self) -> Events: ...


@contextmanager
def web_process(router: Running) -> Iterator[None]:
    """As the rules in force demand, as long as the context lasts."""
    child = WebChild(router.system.processes, router.loop)
    child.follow(router.config.web)

    def reloaded(event: Mapping[str, Any]) -> None:
        if event["event"] == "reload":
            child.follow(router.config.web)

    router.events.subscribe(reloaded)
    try:
        yield
    finally:
        router.events.unsubscribe(reloaded)
        child.close()


class WebChild:
    """`follow` may be called at any time."""

    def __init__(self, processes: Processes, loop: Watcher) -> None:
        self._processes = processes
        self._loop = loop
        self._wanted: Web | None = None
        self._pipe: Pipe | None = None
        self._wait = FIRST
        self._started_at = 0.0
        self._attempt = 0
        """Of starts: what belongs to a former one is of no interest."""

    def follow(self, wanted: Web | None) -> None:
        """Have it run with these settings, or not at all."""
        if wanted == self._wanted:
            return
        self._wanted = wanted
        self._wait = FIRST
        self._attempt += 1
        if wanted is None:
            self._processes.end_web()
            log.info("web page: none any more")
        else:
            self._start(self._attempt)

    def close(self) -> None:
        """The loop has ended; the guard ends the process."""
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

    def _start(self, attempt: int) -> None:
        """The guard ends the one that still runs."""
        web = self._wanted
        if web is None or attempt != self._attempt:
            return
        lacking = not_installed()
        if lacking is not None:
            log.warning("%s; the router runs without", lacking)
            return
        self._started_at = self._loop.now
        self._processes.start_web(web.host, web.port, web.token, partial(self._begun, attempt))

    def _begun(self, attempt: int, pipe: Pipe | PlatformError) -> None:
        if isinstance(pipe, PlatformError):
            log.warning("the web process cannot be started: %s", pipe)
            self._again(attempt)
            return
        if attempt != self._attempt:
            pipe.close()
            return
        self._forget()
        self._pipe = pipe
        self._loop.watch(pipe, partial(self._read, pipe, attempt))

    def _read(self, pipe: Pipe, attempt: int) -> None:
        """It writes nothing: this is the end."""
        try:
            if pipe.read():
                return
        except BlockingIOError:
            return
        self._loop.call_later(0.0, partial(self._ended, pipe, attempt))

    def _ended(self, pipe: Pipe, attempt: int) -> None:
        if self._pipe is not pipe:
            return
        self._forget()
        self._again(attempt)

    def _again(self, attempt: int) -> None:
        if attempt != self._attempt:
            return
        if self._loop.now - self._started_at > LONGEST:
            self._wait = FIRST
        log.warning("the web process has ended: started again in %g s", self._wait)
        self._loop.call_later(self._wait, partial(self._start, attempt))
        self._wait = min(2 * self._wait, LONGEST)

    def _forget(self) -> None:
        """Only from a timer, or from the reply of the guard."""
        if self._pipe is not None:
            self._loop.forget(self._pipe)
            self._pipe.close()
            self._pipe = None
