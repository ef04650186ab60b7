"""How many examples a property test tries.

The examples are the same in every run, so that few of them find again what they have found before;
many look for what is not known yet: TUNROUTER_EXAMPLES=all make check.
"""

from __future__ import annotations

import os
from typing import Final

SHARE: Final = 1 if os.environ.get("TUNROUTER_EXAMPLES") == "all" else 3


def examples(most: int) -> int:
    """Those of `most` that are tried."""
    return -(-most // SHARE)
