"""Flows whose packets the system carries itself, so that they do not pass the router."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol


class Translation(NamedTuple):
    """The TCP segments of one direction of a relayed flow: addresses and ports that they have, and
    get.

    dscp: of their traffic class, without ECN; those with another one are left to the router. None:
    whatever it is.
    """

    old: bytes
    new: bytes
    dscp: int | None


class Forwarding(NamedTuple):
    """The packets of a flow that leave by the interface of an index, with one hop less.

    ends: addresses, and ports; of an ICMP query type, code and identifier in their place. next_hop:
    the neighbour that they go to, of either family. mtu: bytes of the longest packet; longer ones
    are left to the router.
    """

    protocol: int
    ends: bytes
    interface: int
    next_hop: bytes
    mtu: int


class Passed(NamedTuple):
    """What has passed since `begin`. last: the time of the last that was translated, of a steady
    clock."""

    last: float
    packets: int
    size: int


class FlowOffload(Protocol):
    """Carries plain packets: a TCP segment with SYN, FIN or RST is left to the router, as is one to
    be translated after 0.6 s of silence of its direction, and what follows until `touch`; options
    of IPv4, extension headers and fragments are, too.

    Of a flow that is forwarded, what follows a packet that is left to the router is left to it as
    well, until `open`.
    """

    def begin(
        self,
        parts: Sequence[Translation | Forwarding],
        now: float,
        added: Callable[[int], None] | None = None,
    ) -> int | None:
        """Carry the packets of a flow from some time soon on: of both directions, or of one. Its
        number; None where the system takes no more flows.

        added: called with the number when the system has a flow that is forwarded; packets are left
        to the router until `open`.
        """
        ...

    def left(self, number: int) -> int:
        """How many packets have been left to the router, of a flow that the system has."""
        ...

    def slow_down(self, number: int, until: float) -> None:
        """Have senders of a flow that the system has wait for `open` before each packet, some
        microseconds at most, until it is called or that time of a steady clock: so the router gets
        through with what is left to it."""
        ...

    def open(self, number: int, left: int) -> None:
        """Forward from now on, unless more than those have been left to the router, which are on
        their way now."""
        ...

    def touch(self, number: int, now: float) -> None:
        """Something of the flow has passed by the router."""
        ...

    def passed(self, number: int) -> Sequence[Passed]:
        """Of each part, in the order of `begin`; also of a flow that has just been ended."""
        ...

    def end(self, numbers: Collection[int]) -> None:
        """Leave these flows to the router from now on; their numbers may be used again."""
        ...

    def close(self) -> None: ...
