"""Draining notifications of changes ends, whatever the socket returns."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from router.platform.linux.changes import MOST_REPORTS, LinuxChanges


class Reports(socket.socket):
    """Returns the same each time, and counts the calls."""

    def __init__(self, answer: bytes | OSError) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.answer = answer
        self.calls = 0

    def recv(self, size: int, flags: int = 0) -> bytes:
        self.calls += 1
        assert self.calls <= 100 * MOST_REPORTS, "it would never end"
        if isinstance(self.answer, OSError):
            raise self.answer
        return self.answer[:size]


def reading(answer: bytes | OSError) -> tuple[LinuxChanges, Reports]:
    changes = LinuxChanges()
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
    changes = LinuxChanges()
    changes.drain()
    changes.close()
