"""How many examples a property test tries.

The examples are the same in every run, so that few of them find again what they have found before;
many look for what is not known yet: TUNROUTER_EXAMPLES=all make check. A number stands for so many
times all, and others in each run: `make fuzz`.
"""

from __future__ import annotations

import os
from typing import Final

GIVEN: Final = os.environ.get("TUNROUTER_EXAMPLES", "")
TIMES: Final = int(GIVEN) if GIVEN.isdecimal() else 0
SHARE: Final = 1 if GIVEN == "all" else 3


def examples(most: int) -> int:
    """Those of `most` that are tried."""
    return most * TIMES or -(-most // SHARE)
