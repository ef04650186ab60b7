"""A number by which each run of the tests tries other inputs and other faults than the one before.

TUNROUTER_SEED=7 make check repeats a run.
"""

from __future__ import annotations

import os
import time
from typing import Final

VARIABLE: Final = "TUNROUTER_SEED"


def choose() -> int:
    """That of the environment; if there is none, a new one, which processes that are started later
    get as well."""
    return int(os.environ.setdefault(VARIABLE, str(time.time_ns() % (1 << 32))))
