"""The pool requests sockets before the last one is taken, and no more than are needed."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import pytest

from router.platform.base.errors import PlatformError
from router.platform.linux.client.udp_pool import PORTION, UdpPool
from router.platform.privileged.channel import Message
from router.platform.privileged.client import Done
from router.platform.privileged.handed_over import handed_over


class MemoryGuard:
    """See GuardClient; `answer` replies to the first request."""

    def __init__(self) -> None:
        self.later: list[tuple[Done, int]] = []

    def request(self, operation: str, done: Done, *, version: int, number: int) -> None:
        assert operation == "udp_sockets"
        self.later.append((done, version))

    def answer(self, count: int = PORTION) -> None:
        done, version = self.later.pop(0)
        done(handed_over(*(self._open(version) for _ in range(count))))

    @staticmethod
    def _open(version: int) -> socket.socket:
        return socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)


@pytest.fixture
def guard() -> MemoryGuard:
    return MemoryGuard()


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def pool(request: pytest.FixtureRequest, guard: MemoryGuard) -> Iterator[UdpPool]:
    pool = UdpPool(cast(Any, guard), request.param)
    yield pool
    pool.close()


def take(pool: UdpPool, count: int) -> None:
    for _ in range(count):
        pool.take().close()


def open_files() -> set[Path]:
    """Of this process, in which other tests may leave some to the garbage collector."""
    found = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the directory, or just closed
            found.add(descriptor.readlink())
    return found


def test_it_is_refilled_before_it_is_empty(guard: MemoryGuard, pool: UdpPool) -> None:
    pool.fill()
    guard.answer()
    for _ in range(10 * PORTION):
        take(pool, 1)
        assert len(guard.later) <= 1
        if guard.later:
            guard.answer()
        assert len(pool._unused) >= PORTION


def test_nothing_waits_for_a_guard_that_is_busy(guard: MemoryGuard, pool: UdpPool) -> None:
    """What the guard has not opened yet has smaller buffers."""
    pool.fill()
    guard.answer()
    take(pool, 3 * PORTION)
    assert len(guard.later) == 1


def test_sockets_are_of_the_family(guard: MemoryGuard, pool: UdpPool) -> None:
    families = set()
    for _ in range(PORTION + 2):
        with pool.take() as sock:
            families.add(sock.family)
        if guard.later:
            guard.answer()
    assert len(families) == 1


@pytest.mark.parametrize(
    "answer",
    [PlatformError("no"), OSError(errno.EMFILE, os.strerror(errno.EMFILE)), Message(None, [])],
    ids=["refused", "an error", "no room here"],
)
def test_a_failed_request_is_repeated(
    guard: MemoryGuard, pool: UdpPool, answer: Message | Exception
) -> None:
    take(pool, 1)
    done, _ = guard.later.pop()
    done(answer)
    take(pool, 1)
    assert len(guard.later) == 1


def test_all_are_closed(guard: MemoryGuard) -> None:
    before = open_files()
    pool = UdpPool(cast(Any, guard), 4)
    pool.fill()
    guard.answer()
    opened = open_files() - before
    assert len(opened) == PORTION
    pool.close()
    assert not opened & open_files()
