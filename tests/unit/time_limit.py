"""A limit for each step of a unit test, so that one that waits for what never comes fails, with the
line where it waits, and does not hang.

Always true: the signal is this process's own; it interrupts system calls and waits for threads, as
its handler raises (PEP 475).
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from tests.unit.examples import TIMES

LIMIT: Final = 120 * max(TIMES, 1)
"""Seconds. The longest test takes a few of them on a busy machine."""


class StillRunningError(BaseException):
    """Not an Exception, as the code under test may catch those."""


@contextmanager
def limited(seconds: float = LIMIT) -> Iterator[None]:
    """Raises StillRunningError where the block is when the time is over. In the main thread."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise StillRunningError(f"after {seconds:g} s")

    former = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
