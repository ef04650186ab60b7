"""Carrying the packets of flows by a program at the TUN, which the guard loads. What follows the
flows is memory that is shared with the kernel.

Always true: a flow that has ended is left to the router at once, since its generation has passed,
whenever the guard removes it; a flow that the guard refuses is left to the router.
"""

from __future__ import annotations

import logging
import mmap
import os
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

from router.platform.base.errors import PlatformError
from router.platform.base.flow_offload import Forwarding, Passed, Translation
from router.platform.linux.bpf.flow_maps import (
    AT_BYTES,
    AT_LAST,
    AT_LEFT,
    AT_PACKETS,
    AT_SENT_ON,
    AT_WAIT_UNTIL,
    FAMILY,
    SLOT,
)
from router.platform.linux.flow_program import DIRECTIONS, MOST_FLOWS, key, value
from router.platform.privileged.channel import Message
from router.platform.privileged.client import GuardClient
from router.platform.reason import reason

log = logging.getLogger(__name__)

WORD: Final = 8
WORDS: Final = SLOT.size // WORD
LAST, PACKETS, SIZE = AT_LAST // WORD, AT_PACKETS // WORD, AT_BYTES // WORD
LEFT, SENT_ON, WAIT_UNTIL = AT_LEFT // WORD, AT_SENT_ON // WORD, AT_WAIT_UNTIL // WORD
NANOSECONDS: Final = 1e9
GENERATIONS: Final = 1 << 32
V4_KEY: Final = FAMILY[4].key_size


class LinuxFlowOffload:
    """See FlowOffload. Raises OSError, PlatformError where the kernel refuses it."""

    def __init__(self, guard: GuardClient) -> None:
        self._guard = guard
        self._keys: dict[int, Sequence[bytes]] = {}
        self._free = list(range(MOST_FLOWS))
        self._refusal = ""
        descriptors = guard.call("offload_flows").descriptors
        if not descriptors:
            raise PlatformError("no descriptor is left for what follows offloaded flows")
        try:
            self._memory = mmap.mmap(descriptors[0], DIRECTIONS * MOST_FLOWS * SLOT.size)
        finally:
            os.close(descriptors[0])
        self._words = memoryview(self._memory).cast("Q")

    def begin(
        self,
        parts: Sequence[Translation | Forwarding],
        now: float,
        added: Callable[[int], None] | None = None,
    ) -> int | None:
        if not self._free:
            return None
        number = self._free.pop()
        records = b""
        for slot, part in enumerate(parts, DIRECTIONS * number):
            at = slot * WORDS
            self._words[at + LAST] = int(now * NANOSECONDS)
            self._words[at + PACKETS] = self._words[at + SIZE] = 0
            self._words[at + LEFT], self._words[at + SENT_ON] = 1, 0
            self._words[at + WAIT_UNTIL] = 0
            records += key(part) + value(part, slot, self._words[at])
        keys = self._keys[number] = [key(each) for each in parts]
        self._request("add_flows", keys[0], records, partial(self._has_added, number, keys, added))
        return number

    def left(self, number: int) -> int:
        return self._words[DIRECTIONS * number * WORDS + LEFT]

    def slow_down(self, number: int, until: float) -> None:
        self._words[DIRECTIONS * number * WORDS + WAIT_UNTIL] = int(until * NANOSECONDS)

    def open(self, number: int, left: int) -> None:
        at = DIRECTIONS * number * WORDS
        self._words[at + SENT_ON] = left
        self._words[at + WAIT_UNTIL] = 0

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

    def end(self, numbers: Collection[int]) -> None:
        ended: dict[bool, list[bytes]] = {True: [], False: []}
        for number in numbers:
            self._pass_generation(number)
            keys = self._keys.pop(number)
            ended[_is_v4(keys[0])] += keys
        self._free += numbers
        for keys in filter(None, ended.values()):
            self._request("remove_flows", keys[0], b"".join(keys), self._done)

    def close(self) -> None:
        self._free.clear()
        self._words.release()
        self._memory.close()

    def _pass_generation(self, number: int) -> None:
        for slot in range(DIRECTIONS * number, DIRECTIONS * (number + 1)):
            at = slot * WORDS
            self._words[at] = (self._words[at] + 1) % GENERATIONS

    def _request(
        self, operation: str, of: bytes, records: bytes, done: Callable[[Message | Exception], None]
    ) -> None:
        try:
            self._guard.request(operation, done, records, version=4 if _is_v4(of) else 6)
        except PlatformError as error:
            done(error)

    def _has_added(
        self,
        number: int,
        keys: Sequence[bytes],
        added: Callable[[int], None] | None,
        reply: Message | Exception,
    ) -> None:
        self._done(reply)
        is_refused = isinstance(reply, Exception)
        if added is not None and not is_refused and self._keys.get(number) is keys:
            added(number)

    def _done(self, reply: Message | Exception) -> None:
        """Errors are told when they are others than before: there may be one for each flow."""
        if isinstance(reply, Exception) and reason(reply) != self._refusal:
            self._refusal = reason(reply)
            log.warning("packets that the kernel could carry pass the router (%s)", reason(reply))


def _is_v4(some_key: bytes) -> bool:
    return len(some_key) == V4_KEY
