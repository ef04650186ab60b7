"""The hook by which packets are observed on their way; see router.engine.reading."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Observing(Protocol):
    """Called before anything is decided about a packet."""

    def observed(self, receive: Callable[[], int], frame: bytearray) -> Callable[[], int]:
        """What reads the next frame of the TUN, see TunQueue.receive, and observes it."""
        ...

    def postpone(self) -> None:
        """That packet waits: nothing is decided about it yet."""
        ...

    def resume(self, packet: bytes) -> None:
        """One that has waited."""
        ...

    def from_outside(self, packet: bytes) -> None:
        """What a query channel has received."""
        ...

    def settle(self, now: float) -> None:
        """All is decided about the one before, and the turn is over. now: of the loop's clock."""
        ...
