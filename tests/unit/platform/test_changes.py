"""Draining notifications of changes ends, whatever the socket returns."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import closing

import pytest

from router.platform.base.facts import ForeignRoute, Reported
from router.platform.linux.changes import MOST_REPORTS, LinuxChanges
from router.platform.linux.netlink.constants import (
    RTA_DST,
    RTA_OIF,
    RTM_DELADDR,
    RTM_DELROUTE,
    RTM_F_CLONED,
    RTM_GETLINK,
    RTM_NEWADDR,
    RTM_NEWROUTE,
    RTPROT_TUNROUTER,
)
from router.platform.linux.netlink.messages import ATTRIBUTE, RTMSG, U32_ATTRIBUTE, pack_message


class Reports(socket.socket):
    """Returns the same each time, or only once, and counts the calls."""

    def __init__(self, answer: bytes | OSError) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.answer = answer
        self.calls = 0
        self.is_only_one = False

    def recv(self, size: int, flags: int = 0) -> bytes:
        self.calls += 1
        assert self.calls <= 100 * MOST_REPORTS, "it would never end"
        if isinstance(self.answer, OSError):
            raise self.answer
        if self.is_only_one and self.calls > 1:
            raise BlockingIOError
        return self.answer[:size]


def reading(answer: bytes | OSError) -> tuple[LinuxChanges, Reports]:
    changes = LinuxChanges(lambda: None)
    changes.close()
    reports = Reports(answer)
    changes._socket = reports
    return changes, reports


@pytest.mark.parametrize("number", [errno.ENOBUFS, errno.ENOMEM])
def test_an_overrun_is_a_report(number: int) -> None:
    changes, reports = reading(OSError(number, os.strerror(number)))
    changes.drain()
    assert reports.calls == MOST_REPORTS
    changes.close()


def test_a_flood_does_not_starve_others() -> None:
    changes, reports = reading(bytes(32))
    changes.drain()
    assert reports.calls == MOST_REPORTS
    changes.close()


def test_a_permanent_error_is_raised() -> None:
    changes, _ = reading(OSError(errno.EBADF, os.strerror(errno.EBADF)))
    with pytest.raises(OSError, match="Bad file descriptor"):
        changes.drain()
    changes.close()


def test_nothing_left_is_the_end() -> None:
    changes = LinuxChanges(lambda: None)
    assert changes.drain() == Reported([], address_removed=False)
    changes.close()


def report(kind: int, protocol: int = 3, flags: int = 0) -> bytes:
    """Of 198.51.100.0/24 by the interface 7."""
    body = RTMSG.pack(socket.AF_INET, 24, 0, 0, 254, protocol, 0, 1, flags)
    body += ATTRIBUTE.pack(8, RTA_DST) + bytes([198, 51, 100, 0])
    body += U32_ATTRIBUTE.pack(U32_ATTRIBUTE.size, RTA_OIF, 7)
    return pack_message(kind, 0, 0, body)


def drained(datagram: bytes) -> Reported:
    """What one datagram reports."""
    changes, reports = reading(datagram)
    reports.is_only_one = True
    with closing(changes):
        return changes.drain()


FOREIGN = ForeignRoute(4, 0xC6336400, 24, 7)


@pytest.mark.parametrize(
    ("datagram", "routes"),
    [
        (report(RTM_NEWROUTE), [FOREIGN]),
        (report(RTM_NEWROUTE) + report(RTM_DELROUTE), [FOREIGN, FOREIGN]),
        (report(RTM_NEWROUTE, flags=RTM_F_CLONED), []),
        (report(RTM_DELROUTE, RTPROT_TUNROUTER), None),
        (report(RTM_NEWROUTE) + report(RTM_GETLINK), None),
    ],
    ids=["one", "two", "a cached one", "ours", "a link"],
)
def test_routes_of_others_are_told_apart(
    datagram: bytes, routes: list[ForeignRoute] | None
) -> None:
    assert drained(datagram) == Reported(routes, address_removed=False)


@pytest.mark.parametrize(
    ("kinds", "removed"),
    [
        ([RTM_NEWADDR], False),
        ([RTM_DELADDR], True),
        ([RTM_NEWADDR, RTM_DELADDR, RTM_NEWADDR], True),
        ([RTM_DELADDR, RTM_NEWROUTE], True),
    ],
    ids=["added", "removed", "in between", "before a route"],
)
def test_a_removed_address_is_told(kinds: list[int], removed: bool) -> None:
    assert drained(b"".join(map(report, kinds))) == Reported(None, removed)


def test_an_overrun_may_have_been_anything() -> None:
    changes, _ = reading(OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)))
    assert changes.drain() == Reported(None, address_removed=True)
    changes.close()
