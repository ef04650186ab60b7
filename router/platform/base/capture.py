"""Copies of packets that come in from outside."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Captured(NamedTuple):
    """time: seconds since 1970. length: bytes of the whole packet, from its IP header on."""

    time: float
    length: int
    data: bytes


class Capture(Protocol):
    """See router.platform.captured."""

    def fileno(self) -> int: ...

    def read(self) -> list[Captured]:
        """What has come, some at a time."""
        ...

    def close(self) -> None: ...
