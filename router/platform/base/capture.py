"""Copies of packets that come in from outside."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import NamedTuple, Protocol


class Captured(NamedTuple):
    """time: seconds since 1970. length: bytes of the whole packet, from its IP header on."""

    time: float
    length: int
    data: bytes


class Capture(Protocol):
    """See router.platform.open_capture. It captures nothing before `only_by`."""

    def only_by(self, interfaces: Collection[int] | None) -> None:
        """Capture what comes in by the interfaces with these indices; None: by any."""
        ...

    def read(self) -> Iterator[Captured]:
        """What has come since the last time and was not discarded."""
        ...

    def discard(self, before: float) -> None:
        """Forget unread what came before a time, in seconds since 1970, and the first of what is
        more than can be kept."""
        ...

    def close(self) -> None: ...
