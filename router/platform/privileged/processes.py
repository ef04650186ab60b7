"""The processes that the guard starts for the router; see router.platform.base.processes."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Mapping
from typing import Any

from router.platform.base.errors import PlatformError
from router.platform.privileged.channel import Message
from router.platform.privileged.client import GuardClient
from router.platform.program_output import Output
from router.platform.reason import reason

Started = Callable[[Output | PlatformError], None]


class GuardedProcesses:
    """The part of Processes that is the same on every system."""

    def __init__(self, guard: GuardClient) -> None:
        self._guard = guard

    def guard(self) -> GuardClient:
        return self._guard

    def start_reread(self) -> Output:
        return _output(self._guard.call("start_reread"))

    def start_watch(self) -> Output:
        return _output(self._guard.call("start_watch"))

    def start_resolver(self, host: str, done: Started) -> None:
        self._start("start_resolver", done, host=host)

    def start_explain(
        self,
        question: Mapping[str, str | int | None],
        done: Started,
    ) -> None:
        self._start("start_explain", done, **question)

    def start_web(
        self,
        host: str,
        port: int,
        token: str | None,
        done: Started,
    ) -> None:
        self._start("start_web", done, host=host, port=port, token=token)

    def end_web(self) -> None:
        with contextlib.suppress(PlatformError):  # a guard that has ended has ended it too
            self._guard.request("end_web", lambda _: None)

    def _start(self, operation: str, done: Started, **arguments: Any) -> None:
        def started(reply: Message | Exception) -> None:
            done(_outcome(reply))

        try:
            self._guard.request(operation, started, **arguments)
        except PlatformError as error:
            done(error)

    def control_socket(self) -> socket.socket:
        return self._guard.open_socket("control_socket")


def _outcome(reply: Message | Exception) -> Output | PlatformError:
    if isinstance(reply, Exception):
        return PlatformError(reason(reply))
    try:
        return _output(reply)
    except PlatformError as error:
        return error


def _output(reply: Message) -> Output:
    """A kernel drops a descriptor for which this process has no room (unix(7)); the program ends
    when it writes, or is started again. Raises PlatformError."""
    if not reply.descriptors:
        raise PlatformError(
            "no descriptor is left for the program that was started: raise `ulimit -n`"
        )
    return Output(reply.descriptors[0])
