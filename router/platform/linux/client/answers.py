"""Counting answers by the guard. The counters themselves are read from memory that is shared with
the kernel."""

from __future__ import annotations

import mmap
import os
from collections.abc import Collection

from router.platform.base.answers import NumberedPrefix, Place
from router.platform.base.errors import PlatformError
from router.platform.linux.answer_counters import COUNTER, MOST_NUMBERS
from router.platform.privileged.client import GuardClient
from router.platform.privileged.prefix_records import pack_records


class LinuxAnswerCounters:
    """See AnswerCounters. Raises OSError, PlatformError where the kernel refuses them."""

    most = MOST_NUMBERS

    def __init__(self, guard: GuardClient) -> None:
        self._guard = guard
        self._prefixes: Collection[NumberedPrefix] = ()
        descriptors = guard.call("answer_counters").descriptors
        if not descriptors:
            raise PlatformError("no descriptor is left for the counters of answers")
        try:
            self._memory = mmap.mmap(
                descriptors[0], MOST_NUMBERS * COUNTER.size, mmap.MAP_SHARED, mmap.PROT_READ
            )
        finally:
            os.close(descriptors[0])

    def count(self, prefixes: Collection[NumberedPrefix], places: Collection[Place]) -> None:
        added, removed = difference(self._prefixes, prefixes)
        self._guard.call(
            *("count_answers", pack_records((*added, *removed))),
            added=len(added),
            places=list(places),
        )
        self._prefixes = prefixes

    def read(self, counter: int) -> tuple[int, int]:
        packets, size = COUNTER.unpack_from(self._memory, counter * COUNTER.size)
        return packets, size

    def close(self) -> None:
        self._memory.close()


def difference(
    before: Collection[NumberedPrefix], after: Collection[NumberedPrefix]
) -> tuple[list[NumberedPrefix], list[NumberedPrefix]]:
    """The added ones, and the removed ones of which none is added with another number."""
    if before is after:
        return [], []
    then, now = set(before), set(after)
    stay = {each[:3] for each in now}
    return list(now - then), [each for each in then - now if each[:3] not in stay]
