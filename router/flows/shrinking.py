"""Tables that give back the room that they needed once: a dict keeps that of the most that it has
held.

Must not know: what is held.
"""

from __future__ import annotations

from sys import getsizeof
from typing import Any, Final

SMALL: Final = 16 << 10
"""Bytes of a dict that may stay."""
EACH: Final = 8 * 128
"""Bytes for each entry that may stay, eight times what one needs."""


def shrink(*tables: dict[Any, Any]) -> None:
    """Rebuild those that have far more room than entries; costs what they hold."""
    for table in tables:
        if getsizeof(table) > SMALL + EACH * len(table):
            held = list(table.items())
            table.clear()
            table.update(held)
