"""What a host name is.

Must not know: whether it can be resolved.
"""

from __future__ import annotations

import re
from typing import Final

HOST_NAME: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+", re.ASCII
)
ONLY_DIGITS: Final = re.compile(r"[0-9.]+", re.ASCII)


def is_host_name(text: str) -> bool:
    """Whether it is one, and no number that a resolver takes for an address."""
    return HOST_NAME.fullmatch(text) is not None and ONLY_DIGITS.fullmatch(text) is None
