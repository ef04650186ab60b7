"""Rewriting segments at the TUN; see router.platform.base.segments."""

from __future__ import annotations

import os
from collections.abc import Sequence

from router.platform.base.errors import PlatformError
from router.platform.linux.answer_counters import allow_memory
from router.platform.linux.bpf.segments import FAMILY, value_size
from router.platform.linux.operations.tun import TunOperations
from router.platform.linux.segment_rewriter import MOST_FLOWS, SegmentRewriter
from router.platform.privileged.arguments import invalid
from router.platform.privileged.channel import Message

MOST_RECORDS = 2 * MOST_FLOWS


class SegmentOperations:
    """At the TUN."""

    def __init__(self, tun: TunOperations) -> None:
        self._tun = tun
        self._rewriter: SegmentRewriter | None = None

    def rewrite_segments(self) -> Message:
        """Hands over the slots. Raises OSError where the kernel refuses it."""
        self._tun.opened()
        if self._rewriter is None:
            allow_memory()
            self._rewriter = SegmentRewriter(self._tun.index)
        return Message(None, [os.dup(self._rewriter.slots)])

    def add_segments(self, version: int, records: bytes) -> Message:
        """See SegmentRewriter.add. records: keys with their values."""
        key = _key_size(version)
        records_of = _split(records, key + value_size(version))
        self._opened().add(version, [(each[:key], each[key:]) for each in records_of])
        return Message(None)

    def remove_segments(self, version: int, records: bytes) -> Message:
        """See SegmentRewriter.remove. records: keys."""
        self._opened().remove(version, _split(records, _key_size(version)))
        return Message(None)

    def _opened(self) -> SegmentRewriter:
        if self._rewriter is None:
            raise PlatformError("nothing rewrites segments")
        return self._rewriter


def _key_size(version: int) -> int:
    if not isinstance(version, int) or version not in FAMILY:
        raise invalid("an IP version", version)
    return FAMILY[version].key_size


def _split(records: bytes, size: int) -> Sequence[bytes]:
    if len(records) % size or len(records) > MOST_RECORDS * size:
        raise PlatformError(f"{len(records)} bytes are no records of {size} bytes")
    return [records[at : at + size] for at in range(0, len(records), size)]
