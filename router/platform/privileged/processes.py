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
        (output,) = self._guard.call("start_reread").descriptors
        return Output(output)

    def start_watch(self) -> Output:
        (output,) = self._guard.call("start_watch").descriptors
        return Output(output)

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
            if isinstance(reply, Message):
                (output,) = reply.descriptors
                done(Output(output))
            else:
                done(PlatformError(reason(reply)))

        try:
            self._guard.request(operation, started, **arguments)
        except PlatformError as error:
            done(error)

    def control_socket(self) -> socket.socket:
        return self._guard.open_socket("control_socket")
