"""The answer to `explain`: what `tunrouter explain` says about a destination, by the rules file.

The router has no right to read the file, and could not wait: so a program reads it, that the guard
starts, and the router passes on what that has written.

Always true: the program runs once at a time, and requests wait for each other; one that does not
end within PATIENCE is given up.

Must not know: rules.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import ip_address
from typing import Final, Protocol

from router.config.host_names import is_host_name
from router.config.problems import quoted
from router.config.schema import PROTOCOLS
from router.control.connection import Answer
from router.platform.base.descriptors import HasFileno
from router.platform.base.errors import PlatformError
from router.platform.base.processes import Pipe, Processes
from router.platform.base.starts import PacedStarts
from router.policy.match.traffic import LAST_PORT

PATIENCE: Final = 20.0
"""Seconds; a million prefixes take a few."""
LARGEST: Final = 4 << 20
"""Bytes of an answer: rules that do not match are listed."""
TOO_LONG: Final = f"the rules could not be read within {PATIENCE:g} s: try again"
CUT_OFF: Final = "the program that explains has ended before it was done: look at the router's log"
MEMBERS: Final = ("destination", "protocol", "port")


class Watcher(Protocol):
    """The part of the event loop that reads what programs write; see router.engine.loop."""

    now: float

    def watch(self, source: HasFileno, readable: Callable[[], None]) -> None: ...

    def forget(self, source: HasFileno) -> None: ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...


class Explainer:
    """Of one router."""

    def __init__(self, processes: Processes, loop: Watcher) -> None:
        self._processes = processes
        self._loop = loop
        self._starts = PacedStarts(loop)
        self._waiting: deque[Answer] = deque()
        self._present: Answer | None = None
        self._received = b""

    def answer(self, answer: Answer) -> None:
        """In its turn; at once where the question has a fault."""
        fault = fault_of(answer.request)
        if fault is not None:
            answer.refuse(fault)
            return
        self._waiting.append(answer)
        if self._present is None:
            self._begin()

    def _begin(self) -> None:
        answer = self._present = self._waiting.popleft()
        question = {name: answer.request.get(name) for name in MEMBERS}
        self._received = b""
        self._starts.when_allowed(lambda: self._processes.start_explain(question, self._begun))

    def _begun(self, pipe: Pipe | PlatformError) -> None:
        if isinstance(pipe, PlatformError):
            self._end(str(pipe))
            return
        self._loop.watch(pipe, partial(self._read, pipe, self._present))
        self._loop.call_later(PATIENCE, partial(self._finish, pipe, self._present, TOO_LONG))

    def _read(self, pipe: Pipe, answer: Answer | None) -> None:
        try:
            piece = pipe.read()
        except BlockingIOError:
            return
        self._received += piece
        if not piece or len(self._received) > LARGEST:
            self._loop.call_later(0.0, partial(self._finish, pipe, answer, None))

    def _finish(self, pipe: Pipe, answer: Answer | None, failure: str | None) -> None:
        """From a timer, so that the pipe may be closed."""
        if answer is None or self._present is not answer:
            return
        self._loop.forget(pipe)
        pipe.close()
        if failure is None and not self._received.endswith(b"\n"):
            failure = CUT_OFF
        self._end(failure)

    def _end(self, failure: str | None) -> None:
        assert self._present is not None, "one is being answered"
        answer, self._present = self._present, None
        failure = failure or _failure_in(self._received)
        if failure is not None:
            answer.refuse(failure)
        else:
            answer.reply([self._received])
        self._received = b""
        if self._waiting:
            self._begin()


def fault_of(question: Mapping[str, object]) -> str | None:
    """What is wrong with a question, in words for its sender; None if nothing is. The guard checks
    the same once more, against a router that was taken over."""
    destination, protocol, port = (question.get(name) for name in MEMBERS)
    if not isinstance(destination, str) or not _is_destination(destination):
        return f"'destination' is an address or a host name, not {quoted(str(destination))}"
    if protocol is not None and protocol not in PROTOCOLS:
        return f"'protocol' is one of {', '.join(PROTOCOLS)}, not {quoted(str(protocol))}"
    if port is not None and not (type(port) is int and 1 <= port <= LAST_PORT):
        return f"'port' is a number from 1 to {LAST_PORT}, not {quoted(str(port))}"
    return None


def _is_destination(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return is_host_name(text)
    return True


def _failure_in(received: bytes) -> str | None:
    """The error that the program has written in place of an answer; None if it is an answer."""
    try:
        found = json.loads(received)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return CUT_OFF
    return None if "error" not in found else str(found["error"])
