"""The router as a process: its rights and limits, and the processes beside it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

from router.platform.base.descriptors import HasFileno
from router.platform.base.errors import PlatformError


class Leftover(NamedTuple):
    """Something that a former run left, in a few words; `why` it could not be undone, with a
    remedy, or None: it is undone."""

    words: str
    why: str | None = None


class Pipe(HasFileno, Protocol):
    """The output of another process."""

    def read(self) -> bytes:
        """The next bytes, a bounded number of them; none at the end.

        Raises BlockingIOError when there are none at present.
        """
        ...

    def close(self) -> None:
        """End the process too, if it writes on."""
        ...


class Supervisor(Protocol):
    """The program that started and watches the router, if there is one; no method blocks or raises.

    watchdog: seconds between calls of `alive`; None: it need not be called. A router that does not
    call it for twice as long is killed.
    """

    watchdog: float | None

    def ready(self, status: str) -> None:
        """Started, or reloaded; `status` is one line for people."""
        ...

    def reloading(self) -> None:
        """From now until `ready`."""
        ...

    def now(self, status: str) -> None:
        """The status has changed."""
        ...

    def alive(self) -> None: ...

    def stopping(self) -> None: ...


Started = Callable[[Pipe | PlatformError], None]
"""Called with the output of a program, or with why it has not been started."""


class GuardConnection(HasFileno, Protocol):
    """The connection to the process that undoes the router's changes when the router is killed."""

    def dispatch(self) -> None:
        """Call back for the replies that have arrived, if any. Raises PlatformError when that
        process has ended or does not reply."""
        ...

    def when_free(self, done: Callable[[PlatformError | None], None]) -> None:
        """Call back, from `dispatch` or at once, when that process has answered all that was
        requested before: what is called then does not wait long. With an error it never will."""
        ...

    def check(self) -> None:
        """To be called now and then. Raises PlatformError when that process does not reply in
        time."""
        ...


class Processes(Protocol):
    """Of one run."""

    def drop_privileges(self, user: str) -> None:
        """Run on with the rights of a user alone; a process that was started before does what needs
        more. Raises PlatformError."""
        ...

    def guard(self) -> GuardConnection: ...

    def start_reread(self) -> Pipe:
        """Start the program that was named at the beginning, with the privileges of the start; its
        standard output. Raises PlatformError."""
        ...

    def start_watch(self) -> Pipe:
        """Start that program so that it watches the rules, with the same privileges: it writes
        something whenever they are to be read again, because of changes from this call on. Raises
        PlatformError."""
        ...

    def start_resolver(self, host: str, done: Started) -> None:
        """Start router.platform.host_names for a name, without waiting, and call back with its
        standard output. One that still runs is ended."""
        ...

    def start_explain(self, question: Mapping[str, str | int | None], done: Started) -> None:
        """Start the program that was named at the beginning, with the privileges of the start, for
        a destination (an address or a host name), a protocol and a port, without waiting, and call
        back with its standard output. One that still runs is ended."""
        ...

    def start_web(self, host: str, port: int, token: str | None, done: Started) -> None:
        """Start router.control.web without waiting, and call back with its standard output, which
        ends when it does. One that still runs is ended."""
        ...

    def end_web(self) -> None:
        """End it, if it runs."""
        ...

    def control_socket(self) -> socket.socket:
        """A listening Unix socket, non-blocking, that only root can connect to.

        Its file is removed by `System.close` or when the process ends. Raises PlatformError.
        """
        ...

    def raise_descriptor_limit(self) -> int:
        """Raise the limit of open descriptors as far as is allowed; the new limit."""
        ...

    def give_back_memory(self) -> None:
        """Have the allocator return what this process has freed to the system, as far as it can;
        takes a few milliseconds."""
        ...

    def open_descriptors(self) -> int:
        """How many this process has open. Raises OSError."""
        ...
