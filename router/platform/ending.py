"""The end of a process of ours.

Must not know: what it was for.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn


def end(status: int) -> NoReturn:
    """End this process with an exit status. Python would take all modules apart before, which costs
    a tenth of the CPU time of a short command; what has to be closed or undone is so by now."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or never open
            stream.flush()
    os._exit(status)
