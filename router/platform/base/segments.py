"""Flows whose TCP segments the system rewrites itself, so that they do not pass the router."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Translation(NamedTuple):
    """The segments of one direction of a flow: addresses and ports that they have, and get.

    dscp: of their traffic class, without ECN; those with another one are left to the router. None:
    whatever it is.
    """

    old: bytes
    new: bytes
    dscp: int | None


class Passed(NamedTuple):
    """What has passed since `begin`. last: the time of the last, of a steady clock."""

    last: float
    packets: int
    size: int


class SegmentOffload(Protocol):
    """Rewrites plain segments; one with SYN, FIN or RST is left to the router, as is one after
    0.6 s of silence of its direction, and what follows until `touch`.

    most: flows at a time; their numbers are below it.
    """

    most: int

    def begin(self, number: int, both: Sequence[Translation], now: float) -> None:
        """Rewrite the segments of a flow from some time soon on. `number` is not in use."""
        ...

    def touch(self, number: int, now: float) -> None:
        """Something of the flow has passed by the router."""
        ...

    def passed(self, number: int) -> Sequence[Passed]:
        """Of both directions, in the order of `begin`."""
        ...

    def end(self, number: int) -> None:
        """Leave the flow to the router from now on."""
        ...

    def close(self) -> None: ...
