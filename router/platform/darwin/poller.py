"""kqueue(2) behind Poller.

A descriptor has up to three filters here, each reported by itself; what one wait returns of a
descriptor is put together. A filter that is added again is evaluated again, and reported if it
holds (kern/kern_event.c, f_touch), as a modified descriptor is by epoll. Filters go with their
descriptor.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from router.platform.base.descriptors import BROKEN, READABLE, URGENT, WRITABLE

EVFILT_READ: Final = -1
EVFILT_WRITE: Final = -2
EVFILT_EXCEPT: Final = -15
EV_ADD: Final = 0x1
EV_DELETE: Final = 0x2
EV_CLEAR: Final = 0x20
EV_EOF: Final = 0x8000
NOTE_OOB: Final = 0x2
"""sys/event.h:70-84, 144-174, 237"""
MOST_EVENTS: Final = 256


class Change(NamedTuple):
    """A filter to add or to delete."""

    ident: int
    filter: int
    flags: int
    fflags: int = 0


class Event(Protocol):
    """A filter that holds. fflags: with EV_EOF the error of the socket, else of the filter
    (kern/uipc_socket.c, filt_soread_common)."""

    @property
    def ident(self) -> int: ...

    @property
    def filter(self) -> int: ...

    @property
    def flags(self) -> int: ...

    @property
    def fflags(self) -> int: ...


class Kqueue(Protocol):
    """kqueue(2)."""

    def control(
        self, changes: Sequence[Change], most: int, timeout: float | None, /
    ) -> Sequence[Event]:
        """Make the changes and wait for at most `timeout` seconds, None: without a limit, for the
        first events, at most so many. Raises OSError where a change is refused."""
        ...

    def close(self) -> None: ...


class DarwinPoller:
    """See Poller."""

    def __init__(self, kqueue: Kqueue) -> None:
        self._control = kqueue.control
        self.close = kqueue.close

    def add(self, descriptor: int) -> None:
        self._control([Change(descriptor, EVFILT_READ, EV_ADD)], 0, 0)

    def add_changes(self, descriptor: int) -> None:
        add = EV_ADD | EV_CLEAR
        changes = [
            Change(descriptor, EVFILT_READ, add),
            Change(descriptor, EVFILT_WRITE, add),
            Change(descriptor, EVFILT_EXCEPT, add, NOTE_OOB),
        ]
        self._control(changes, 0, 0)

    def repeat_changes(self, descriptor: int) -> None:
        self.add_changes(descriptor)

    def remove(self, descriptor: int) -> None:
        self._control([Change(descriptor, EVFILT_READ, EV_DELETE)], 0, 0)

    def wait(self, timeout: float | None) -> list[tuple[int, int]]:
        found: dict[int, int] = {}
        for event in self._control((), MOST_EVENTS, timeout):
            descriptor = event.ident
            found[descriptor] = found.get(descriptor, 0) | _happened(event)
        return list(found.items())


def _happened(event: Event) -> int:
    """As bits of Poller. The end of what the other side sends is only readable; the end of what can
    be sent to it is broken, and so is an error."""
    is_over = event.flags & EV_EOF
    if event.filter == EVFILT_READ:
        return READABLE | BROKEN if is_over and event.fflags else READABLE
    if event.filter == EVFILT_WRITE:
        return WRITABLE | BROKEN if is_over else WRITABLE
    if is_over:
        return BROKEN if event.fflags else 0
    return URGENT if event.fflags & NOTE_OOB else 0


if sys.platform == "darwin":

    class SystemKqueue:
        """See Kqueue."""

        def __init__(self) -> None:
            self._kqueue = select.kqueue()
            self.close = self._kqueue.close

        def control(
            self, changes: Sequence[Change], most: int, timeout: float | None, /
        ) -> Sequence[Event]:
            if not changes:
                return self._kqueue.control(None, most, timeout)
            return self._kqueue.control([select.kevent(*each) for each in changes], most, timeout)
