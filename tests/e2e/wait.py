"""Waiting on conditions: the only place of the test bed where time passes.

Always true: a wait ends as soon as its condition holds, and is bounded; the bound is generous, so
that a slow machine makes a test slow and never wrong. A condition that takes long, as one that
runs a program, is polled half of the time at most, so that what is waited for can go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

BOUND_S = 20.0
POLL_S = 0.01


class StillWaitingError(AssertionError):
    """The condition did not hold within the bound."""


def wait_until(
    condition: Callable[[], T],
    what: str,
    *,
    timeout: float = BOUND_S,
    detail: Callable[[], str] = str,
) -> T:
    """Polls `condition` until it is true and returns its value.

    `what` completes the sentence "waited 20 s for ..."; `timeout` is in seconds; `detail` is
    called for more text (a log, for example) only when the wait fails.

    Raises StillWaitingError.
    """
    began = time.monotonic()
    deadline = began + timeout
    while not (value := condition()):
        now = time.monotonic()
        if now > deadline:
            raise StillWaitingError(f"waited {timeout:g} s for {what}\n{detail()}")
        time.sleep(max(POLL_S, now - began))
        began = time.monotonic()
    return value
