"""The lines of Python that an operation runs, with tables that hold little and that hold much."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

LITTLE: Final = 256
MUCH: Final = 4096
GROWTH: Final = 48
"""Lines: a heap has four levels more."""


def lines_of(operation: Callable[[], object]) -> int:
    """How many lines of Python it runs."""
    number = 0

    def count(_frame: FrameType, event: str, _arg: object) -> Any:
        nonlocal number
        number += event == "line"
        return count

    former = sys.gettrace()
    sys.settrace(count)
    try:
        operation()
    finally:
        sys.settrace(former)
    return number
