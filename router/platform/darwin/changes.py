"""Notifications of changed interfaces, addresses and routes (PF_ROUTE), and of sleep.

Always true: of an event only the fact counts that there was one, and whether it removed an address,
since the state is read anew. A message that finds no room is lost without a word (net/raw_usrreq.c,
raw_input), so the end of a flood counts as an event. No event are: lookups
that failed (RTM_MISS, which other programs cause at any rate), requests that were refused, queries,
neighbours and clones of routes, link-local and multicast destinations, groups.

The kernel reports no sleep. A clock that stops meanwhile and one that does not are compared
whenever something has been received, as it always is after waking.
"""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Callable
from typing import Final

from router.platform.base.facts import Reported
from router.platform.darwin.constants import RTF_LLINFO, RTF_WASCLONED, RTM_DELADDR
from router.platform.darwin.kernel import RoutingKernel
from router.platform.darwin.route_messages import (
    CHANGES,
    ROUTES,
    AddressMessage,
    Message,
    RouteMessage,
    Skipped,
    messages,
)

OVERRUNS: Final = frozenset({errno.ENOBUFS, errno.ENOMEM})
MOST_REPORTS: Final = 256
"""Read at a time, so that a flood of them does not starve other descriptors."""
LARGEST: Final = 65536
NOTICEABLE: Final = 1.0
"""Seconds of sleep; the clocks are not read at the same moment."""
LINK_LOCAL_V6: Final = 0xFE80 >> 6
MULTICAST_V6: Final = 0xFF
LINK_LOCAL_V4: Final = 0xA9FE
MULTICAST_V4: Final = 0xE

Clock = Callable[[], float]
"""Seconds since some moment."""


def while_asleep_too() -> float:
    """Seconds since the start, those of sleep among them."""
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC_RAW)
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def while_awake() -> float:
    """Seconds since the start, without those of sleep."""
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_UPTIME_RAW)
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class Sleep:
    """Notices that the machine has slept. The clocks are those above."""

    def __init__(self, all_time: Clock = while_asleep_too, awake: Clock = while_awake) -> None:
        self._all_time = all_time
        self._awake = awake
        self._asleep = all_time() - awake()

    def has_happened(self) -> bool:
        """Since the call before, or since the beginning."""
        before, self._asleep = self._asleep, self._all_time() - self._awake()
        return self._asleep - before > NOTICEABLE


class DarwinChanges:
    """See Changes."""

    def __init__(self, kernel: RoutingKernel, sleep: Sleep) -> None:
        """Raises OSError."""
        self._socket = kernel.event_socket()
        self._sleep = sleep
        self._is_flooded = False
        self.fileno = self._socket.fileno
        self.close = self._socket.close

    def drain(self) -> Reported:
        """No prefix is reported: the interface of a route is not known from its event, as
        rtm_index is the request's (net/rtsock.c:560-597), and a Mac has few routes to read."""
        is_changed = address_removed = self._sleep.has_happened()
        for _ in range(MOST_REPORTS):
            try:
                received = self._socket.recv(LARGEST)
            except BlockingIOError:
                is_changed = is_changed or self._is_flooded
                address_removed = address_removed or self._is_flooded
                self._is_flooded = False
                break
            except OSError as error:
                if error.errno not in OVERRUNS:
                    raise
                is_changed = address_removed = True
                continue
            for message in messages(received):
                is_changed = is_changed or _is_change(message)
                address_removed = address_removed or _removes_address(message)
        else:
            self._is_flooded = True
        return Reported(None if is_changed else (), address_removed)


def _is_change(message: Message) -> bool:
    if isinstance(message, Skipped):
        return message.fault is not None
    if not isinstance(message, RouteMessage):
        return True
    if message.kind in ROUTES - CHANGES or message.error:
        return False
    return not (message.flags & (RTF_WASCLONED | RTF_LLINFO) or _is_of_the_link(message))


def _removes_address(message: Message) -> bool:
    if isinstance(message, Skipped):
        return message.fault is not None
    return isinstance(message, AddressMessage) and message.kind == RTM_DELADDR


def _is_of_the_link(route: RouteMessage) -> bool:
    """Whether it leads to link-local or multicast addresses, which no rule captures."""
    if route.version == 4:
        is_multicast = route.length >= 4 and route.first >> 28 == MULTICAST_V4
        return is_multicast or (route.length >= 16 and route.first >> 16 == LINK_LOCAL_V4)
    is_multicast = route.length >= 8 and route.first >> 120 == MULTICAST_V6
    return is_multicast or (route.length >= 10 and route.first >> 118 == LINK_LOCAL_V6)
