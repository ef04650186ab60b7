"""A unit test that waits for ever is ended: in a system call, for a thread, and in a loop."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable

import pytest

from tests.unit.time_limit import StillRunningError, limited


def in_a_system_call() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.recv(1)


def for_a_thread() -> None:
    threading.Event().wait()


def in_a_loop() -> None:
    while True:
        try:
            in_a_system_call()
        except Exception:
            continue


@pytest.mark.parametrize("wait", [in_a_system_call, for_a_thread, in_a_loop])
def test_what_waits_for_ever_is_ended(wait: Callable[[], None]) -> None:
    with pytest.raises(StillRunningError, match=r"after 0\.01 s"), limited(0.01):
        wait()
    with limited():
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
