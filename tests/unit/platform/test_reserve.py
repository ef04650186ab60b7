"""Sockets in reserve: asked for before the last one is taken, and no more than are needed."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from router.platform.base.errors import PlatformError
from router.platform.linux.reserve import PORTION, Reserve
from router.platform.privileged.channel import Message
from router.platform.privileged.client import Done


class MemoryGuard:
    """See Guard: answers what nobody waits for when it is told to."""

    def __init__(self) -> None:
        self.waited_for = 0
        self.later: list[tuple[Done, int]] = []

    def open_sockets(self, operation: str, *, version: int, number: int) -> Iterator[socket.socket]:
        self.waited_for += 1
        for _ in range(number):
            yield self._open(version)

    def request(self, operation: str, done: Done, *, version: int, number: int) -> None:
        assert operation == "udp_sockets"
        self.later.append((done, version))

    def answer(self, count: int = PORTION) -> None:
        done, version = self.later.pop(0)
        done(Message(None, [self._open(version).detach() for _ in range(count)]))

    @staticmethod
    def _open(version: int) -> socket.socket:
        return socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)


@pytest.fixture
def guard() -> MemoryGuard:
    return MemoryGuard()


@pytest.fixture(params=[4, 6], ids=["IPv4", "IPv6"])
def reserve(request: pytest.FixtureRequest, guard: MemoryGuard) -> Iterator[Reserve]:
    reserve = Reserve(cast(Any, guard), request.param)
    yield reserve
    reserve.close()


def take(reserve: Reserve, count: int) -> None:
    for _ in range(count):
        reserve.take().close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_only_the_first_is_waited_for(guard: MemoryGuard, reserve: Reserve) -> None:
    for _ in range(10 * PORTION):
        take(reserve, 1)
        assert len(guard.later) <= 1
        if guard.later:
            guard.answer()
    assert guard.waited_for == 1


def test_as_many_as_are_left_while_the_guard_is_busy(guard: MemoryGuard, reserve: Reserve) -> None:
    take(reserve, 1)
    guard.answer()
    take(reserve, 2 * PORTION - 1)
    assert (guard.waited_for, len(guard.later)) == (1, 1)
    take(reserve, 1)
    assert guard.waited_for == 2


def test_sockets_are_of_the_family(guard: MemoryGuard, reserve: Reserve) -> None:
    families = set()
    for _ in range(PORTION + 2):
        with reserve.take() as sock:
            families.add(sock.family)
        if guard.later:
            guard.answer()
    assert len(families) == 1


@pytest.mark.parametrize(
    "answer",
    [PlatformError("no"), OSError(errno.EMFILE, os.strerror(errno.EMFILE)), Message(None, [])],
    ids=["refused", "an error", "no room here"],
)
def test_none_that_come_are_asked_for_again(
    guard: MemoryGuard, reserve: Reserve, answer: Message | Exception
) -> None:
    take(reserve, 1)
    done, _ = guard.later.pop()
    done(answer)
    take(reserve, 1)
    assert len(guard.later) == 1
    take(reserve, PORTION)
    assert guard.waited_for == 2


def test_all_are_closed(guard: MemoryGuard) -> None:
    before = descriptors()
    reserve = Reserve(cast(Any, guard), 4)
    take(reserve, 1)
    guard.answer()
    assert descriptors() == before + 2 * PORTION - 1
    reserve.close()
    assert descriptors() == before
