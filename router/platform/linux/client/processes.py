"""The router's process: its privileges, its limits, and the processes that the guard starts."""

from __future__ import annotations

import contextlib
import errno
import logging
import resource
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from router.platform.account import become
from router.platform.base.errors import PlatformError
from router.platform.linux.sandbox import enter
from router.platform.linux.sockets import bind_to_device
from router.platform.privileged.channel import Message
from router.platform.privileged.client import GuardClient
from router.platform.program_output import Output
from router.platform.reason import reason

log = logging.getLogger(__name__)

Started = Callable[[Output | PlatformError], None]

ROOT: Final = "root"


class LinuxProcesses:
    """See Processes."""

    def __init__(self, guard: GuardClient) -> None:
        self._guard = guard

    def drop_privileges(self, user: str) -> None:
        enter.leave_terminal()
        if user != ROOT:
            enter.empty_bounding_set()
        become(user)
        enter.forbid_new_privileges()
        _check_binding(user)
        try:
            enter.filter_system_calls()
        except OSError as error:
            log.warning(
                "this system has no filter of system calls for the router (seccomp: %s): one that "
                "was taken over could make those of any program of user %s",
                *(reason(error), user),
            )

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

    def raise_descriptor_limit(self) -> int:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        return most

    def open_descriptors(self) -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _check_binding(user: str) -> None:
    """That a process without privileges can bind a socket to an interface. Raises
    PlatformError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            bind_to_device(sock, "lo")
        except OSError as error:
            if error.errno != errno.EPERM:
                raise
            raise PlatformError(
                f"this kernel lets only root bind sockets to an interface, and {user} is not: "
                "write 'user: root' into the rules, or use Linux 5.7 or later"
            ) from error
