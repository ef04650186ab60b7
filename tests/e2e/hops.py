"""Hops of a path, as traceroute and mtr show them.

On a busy machine the raw socket of such a program misses an answer now and then that has arrived,
without a router as well (6 runs of 1,300 of traceroute -T, by either path): then it is run again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.e2e.wait import wait_until

UNANSWERED: Final = frozenset({"*", "???"})


def all_answered(shown: Callable[[], list[str]]) -> list[str]:
    """What `shown` returns, once that is a list of hops all of which have answered.

    shown: runs a program and returns what it shows in the place of each hop.
    """
    found: list[str] = []

    def is_complete() -> bool:
        found[:] = shown()
        return UNANSWERED.isdisjoint(found)

    wait_until(is_complete, "every hop to answer", detail=lambda: " ".join(found))
    return found
