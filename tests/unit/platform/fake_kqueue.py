"""kqueue(2) by epoll(7): the filters of sockets, with and without EV_CLEAR, as xnu reports them
(kern/uipc_socket.c, filt_soread_common, filt_sowrite_common, filt_soexcept).

What kqueue refuses is refused: deleting a filter that is not there, a descriptor that is not open.
"""

from __future__ import annotations

import ctypes
import errno
import socket
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from router.platform.darwin.poller import Change, Event
from router.platform.linux.only_on_linux import (
    EPOLLERR,
    EPOLLET,
    EPOLLHUP,
    EPOLLIN,
    EPOLLOUT,
    EPOLLPRI,
    EPOLLRDHUP,
    TCP_INFO,
    epoll,
)
from tests.unit.darwin.fake_kernel import refuse

READ, WRITE, EXCEPT = -1, -2, -15
ADD, DELETE, CLEAR, EOF = 0x1, 0x2, 0x20, 0x8000
OOB = 0x2
EDGES = {
    READ: EPOLLIN | EPOLLRDHUP,
    WRITE: EPOLLOUT,
    EXCEPT: EPOLLPRI,
}
ENDED = EPOLLHUP | EPOLLERR
SHUT_DOWN = {4, 5, 9, 11}
"""FIN_WAIT1, FIN_WAIT2, LAST_ACK, CLOSING (net/tcp_states.h)."""
LIBC = ctypes.CDLL(None)
SOME_ERROR = errno.ECONNRESET
"""epoll says that there is an error, and not which one; nor does the router look at it."""


class Kevent(NamedTuple):
    ident: int
    filter: int
    flags: int
    fflags: int


def sends_no_more(descriptor: int) -> bool:
    """Whether a TCP socket has been shut down for sending by this process, which xnu reports as the
    end of the write filter (SS_CANTSENDMORE), and epoll not at all."""
    state, size = ctypes.c_uint8(), ctypes.c_uint32(1)
    refused = LIBC.getsockopt(
        descriptor, socket.IPPROTO_TCP, TCP_INFO, ctypes.byref(state), ctypes.byref(size)
    )
    return not refused and state.value in SHUT_DOWN


class FakeKqueue:
    """See Kqueue."""

    def __init__(self) -> None:
        self._epoll = epoll()
        self._filters: dict[int, dict[int, int]] = {}
        self.close = self._epoll.close

    def control(
        self, changes: Sequence[Change], most: int, timeout: float | None, /
    ) -> Sequence[Event]:
        for descriptor in dict.fromkeys(each.ident for each in changes):
            self._change(descriptor, [each for each in changes if each.ident == descriptor])
        if not most:
            return []
        ready = self._epoll.poll(-1 if timeout is None else timeout, most)
        return [event for each in ready for event in self._events(*each)]

    def _change(self, descriptor: int, changes: Sequence[Change]) -> None:
        filters = self._filters.setdefault(descriptor, {})
        for change in changes:
            if change.flags & ADD:
                assert change.filter != EXCEPT or change.fflags == OOB
                filters[change.filter] = change.flags & CLEAR
            elif change.flags & DELETE and filters.pop(change.filter, None) is None:
                raise refuse(errno.ENOENT)
        if not filters:
            del self._filters[descriptor]
            self._epoll.unregister(descriptor)
            return
        mask = 0
        for each in filters:
            mask |= EDGES[each]
        mask |= EPOLLET if all(filters.values()) else 0
        try:
            self._epoll.register(descriptor, mask)
        except FileExistsError:
            self._epoll.modify(descriptor, mask)

    def _events(self, descriptor: int, happened: int) -> Iterator[Kevent]:
        filters = self._filters[descriptor]
        error = SOME_ERROR if happened & EPOLLERR else 0
        ended = EOF if happened & ENDED else 0
        if READ in filters and happened & (EDGES[READ] | ENDED):
            over = EOF if happened & EPOLLRDHUP else ended
            yield Kevent(descriptor, READ, over, error)
        if WRITE in filters and happened & (EDGES[WRITE] | ENDED):
            over = ended or (EOF if sends_no_more(descriptor) else 0)
            yield Kevent(descriptor, WRITE, over, error)
        if EXCEPT in filters and happened & (EDGES[EXCEPT] | ENDED):
            yield Kevent(descriptor, EXCEPT, ended, error if ended else OOB)
