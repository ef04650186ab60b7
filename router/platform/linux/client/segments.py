"""Rewriting segments at the TUN by a program that the guard loads. What follows the flows is
memory that is shared with the kernel.

Always true: a flow that has ended is left to the router at once, since its generation has passed,
whenever the guard removes it; an error of the guard leaves all flows that follow to the router.
"""

from __future__ import annotations

import logging
import mmap
import os
from collections.abc import Sequence
from typing import Final

from router.platform.base.errors import PlatformError
from router.platform.base.segments import Passed, Translation
from router.platform.linux.bpf.segments import AT_BYTES, AT_LAST, AT_PACKETS, SLOT
from router.platform.linux.segment_rewriter import DIRECTIONS, MOST_FLOWS, value
from router.platform.privileged.channel import Message
from router.platform.privileged.client import GuardClient
from router.platform.reason import reason

log = logging.getLogger(__name__)

WORD: Final = 8
WORDS: Final = SLOT.size // WORD
LAST, PACKETS, SIZE = AT_LAST // WORD, AT_PACKETS // WORD, AT_BYTES // WORD
NANOSECONDS: Final = 1e9
GENERATIONS: Final = 1 << 32
V4_KEY: Final = 12


class LinuxSegmentOffload:
    """See SegmentOffload. Raises OSError, PlatformError where the kernel refuses it."""

    def __init__(self, guard: GuardClient) -> None:
        self.most = MOST_FLOWS
        self._guard = guard
        self._keys: dict[int, Sequence[bytes]] = {}
        descriptors = guard.call("rewrite_segments").descriptors
        if not descriptors:
            raise PlatformError("no descriptor is left for what follows offloaded flows")
        try:
            self._memory = mmap.mmap(descriptors[0], DIRECTIONS * MOST_FLOWS * SLOT.size)
        finally:
            os.close(descriptors[0])
        self._words = memoryview(self._memory).cast("Q")

    def begin(self, number: int, both: Sequence[Translation], now: float) -> None:
        records = b""
        for slot, translation in enumerate(both, DIRECTIONS * number):
            at = slot * WORDS
            self._words[at + LAST] = int(now * NANOSECONDS)
            self._words[at + PACKETS] = self._words[at + SIZE] = 0
            records += translation.old + value(translation, slot, self._words[at])
        self._keys[number] = [each.old for each in both]
        self._request("add_segments", self._keys[number], records)

    def touch(self, number: int, now: float) -> None:
        for slot in range(DIRECTIONS * number, DIRECTIONS * (number + 1)):
            self._words[slot * WORDS + LAST] = int(now * NANOSECONDS)

    def passed(self, number: int) -> Sequence[Passed]:
        first = DIRECTIONS * number * WORDS
        words = self._words
        return [
            Passed(words[at + LAST] / NANOSECONDS, words[at + PACKETS], words[at + SIZE])
            for at in range(first, first + DIRECTIONS * WORDS, WORDS)
        ]

    def end(self, number: int) -> None:
        for slot in range(DIRECTIONS * number, DIRECTIONS * (number + 1)):
            at = slot * WORDS
            self._words[at] = (self._words[at] + 1) % GENERATIONS
        keys = self._keys.pop(number)
        self._request("remove_segments", keys, b"".join(keys))

    def close(self) -> None:
        self._words.release()
        self._memory.close()

    def _request(self, operation: str, keys: Sequence[bytes], records: bytes) -> None:
        version = 4 if len(keys[0]) == V4_KEY else 6
        try:
            self._guard.request(operation, self._done, records, version=version)
        except PlatformError as error:
            self._done(error)

    def _done(self, reply: Message | Exception) -> None:
        if isinstance(reply, Exception) and self.most:
            self.most = 0
            log.warning("segments pass the router from now on (%s)", reason(reply))
