"""The hook by which packets are observed on their way; see router.engine.reading."""

from __future__ import annotations

from typing import Protocol

from router.engine.direct.path import CarryAll


class Observing(Protocol):
    """Called before anything is decided about a packet.

    carry_all: see DirectPath; it sends what no trace wants, and leaves everything else to another.
    """

    carry_all: CarryAll

    def from_tun(self, frame: bytearray, size: int) -> bool:
        """A frame of the TUN; whether a trace may want it though it is not dropped."""
        ...

    def left_directly(self, frame: bytearray, size: int) -> None:
        """One that none wants; so `carry_all` may send what is like it."""
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
