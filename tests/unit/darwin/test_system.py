"""The parts of macOS put together, with the real guard as a process, as far as another system lets
it do anything; and the router's own process."""

from __future__ import annotations

import fcntl
import os
import resource
from typing import Any, cast

import pytest

from router.platform import account
from router.platform.base.errors import PlatformError
from router.platform.darwin.client import processes as of_router
from router.platform.darwin.client.processes import DarwinProcesses
from router.platform.darwin.system import DarwinSystem
from tests.unit.darwin.fake_processes import FakeProcesses


def test_the_guard_starts_answers_and_ends() -> None:
    system = DarwinSystem(["reread"], ["explain"])
    guard = system.processes.guard()
    freed: list[object] = []
    guard.when_free(freed.append)
    while not freed:
        guard.dispatch()
    assert freed == [None]
    with pytest.raises(PlatformError, match="there is no utun yet"):
        system.routes.begin_adding([])()
    with pytest.raises(PlatformError, match="there is no utun yet"):
        system.processes.control_socket()
    assert system.answer_counters().read(0) == (0, 0)
    system.close()


@pytest.mark.parametrize(
    ("most", "limit"), [(resource.RLIM_INFINITY, 61_440), (4096, 4096), (1 << 20, 61_440)]
)
def test_the_limit_of_descriptors(monkeypatch: pytest.MonkeyPatch, most: int, limit: int) -> None:
    """Never more than the system lets one process have."""
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, most))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: given.append(limits))
    processes = DarwinProcesses(cast(Any, None), FakeProcesses())
    assert processes.raise_descriptor_limit() == limit
    assert given == [(limit, most)]


def test_open_descriptors_are_counted() -> None:
    processes = DarwinProcesses(cast(Any, None), FakeProcesses())
    before = processes.open_descriptors()
    reading, writing = os.pipe()
    assert processes.open_descriptors() == before + 2
    os.close(reading)
    os.close(writing)


def test_privileges_are_those_of_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the terminal is kept: Ctrl-C comes to processes that have it alone (kern/kern_sig.c,
    pgsignal)."""
    done: list[str] = []
    left: list[int] = []
    monkeypatch.setattr(of_router, "become", done.append)
    monkeypatch.setattr(fcntl, "ioctl", lambda *arguments: left.append(arguments[1]))
    DarwinProcesses(cast(Any, None), FakeProcesses()).drop_privileges("nobody")
    assert (done, left) == (["nobody"], [])


def test_an_account_that_there_is_not_has_a_remedy() -> None:
    with pytest.raises(PlatformError, match="there is no user tr-nobody: create one"):
        account.become("tr-nobody")
