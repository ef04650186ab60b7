"""What signals do to a run before its event loop knows them, and after.

Always true: from the first line of a run to the end of the process no signal ends it otherwise than
in order; until the loop runs, SIGTERM is what Ctrl-C is.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

ENDING: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def in_order() -> Iterator[None]:
    """For the length of a run: SIGINT and SIGTERM raise KeyboardInterrupt until somebody else takes
    them over; SIGHUP is held back until somebody does, see Loop.on_signal. Behind it, what is
    finished is not interrupted: they do nothing any more."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    for number in ENDING:
        signal.signal(number, signal.default_int_handler)
    try:
        yield
    finally:
        for number in (*ENDING, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
