"""Waiting for descriptors, and the buffers that are written to them."""

from __future__ import annotations

from typing import Final, Protocol

Bytes = bytes | bytearray | memoryview


class HasFileno(Protocol):
    """Something to wait for."""

    def fileno(self) -> int: ...


READABLE: Final = 0x01
URGENT: Final = 0x02
WRITABLE: Final = 0x04
BROKEN: Final = 0x18
ENDED: Final = 0x2000
"""Events of a descriptor: bits, as in epoll (EPOLLIN, EPOLLPRI, EPOLLOUT, EPOLLERR | EPOLLHUP,
EPOLLRDHUP). Urgent: there is an urgent byte among what can be read, or will be. Ended: the end of
what the other side sends is behind what can be read; not every system reports it."""


class Poller(Protocol):
    """Waits for any of many descriptors."""

    def add(self, descriptor: int) -> None:
        """Report it as long as it is readable."""
        ...

    def add_changes(self, descriptor: int) -> None:
        """Report once whenever it becomes readable, urgent, writable or broken. Closing it ends
        that."""
        ...

    def repeat_changes(self, descriptor: int) -> None:
        """Report once more the events that it has had so far."""
        ...

    def remove(self, descriptor: int) -> None: ...

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        """(descriptor, events), after at most `timeout` seconds; None: without a limit."""
        ...

    def close(self) -> None: ...
