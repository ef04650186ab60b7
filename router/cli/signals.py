"""Signals of a run before its event loop handles them, and after.

Always true: from the first line of a run to the end of the process, a signal ends it only by an
orderly teardown; until the loop runs, SIGTERM does what Ctrl-C does.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

ENDING: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def in_order() -> Iterator[None]:
    """For the length of a run: SIGINT and SIGTERM raise KeyboardInterrupt until the loop handles
    them; SIGHUP is blocked until then, see Loop.on_signal. Afterwards they are ignored, so that the
    end of the process is not interrupted."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    for number in ENDING:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in (*ENDING, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
