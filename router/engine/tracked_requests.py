"""Whether packets answer requests of other hosts that the system tracks.

The system is asked through another process, and a packet is held until that has answered. Where it
does not in time (router.engine.held_packets), where it is late anyway, and where many packets wait,
a packet goes on with UNANSWERED, upon which nothing lasting may be decided.

Must not know: what becomes of a packet.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import partial
from typing import Final, Literal

from router.engine.held_packets import HasTimers, HeldPackets, Then
from router.platform.base.errors import PlatformError
from router.platform.base.packet_filter import TrackedRequest
from router.wire import ip
from router.wire.headers import ICMP_HEADER, PORTS

RequestOf = Callable[[ip.Packet, Callable[[TrackedRequest | None], None]], None]
"""See PacketFilter.request_of."""


class Unanswered(enum.Enum):
    """In place of an answer that has not come."""

    YET = enum.auto()


UNANSWERED: Final = Unanswered.YET
Found = TrackedRequest | Literal[Unanswered.YET] | None


class TrackedRequests:
    """held: the packets that wait."""

    def __init__(self, request_of: RequestOf, loop: HasTimers) -> None:
        self.held: HeldPackets[Found] = HeldPackets(loop, UNANSWERED)
        self._request_of = request_of

    def find(self, packet: ip.Packet, then: Then[Found], now: float) -> None:
        """Call `then` with the request that a packet answers, None or UNANSWERED; soon, or before
        this returns."""
        key = _key(packet)
        is_asked = self.held.has(key)
        if not self.held.add(key, packet, then):
            then(packet, UNANSWERED, now)
        elif not is_asked:
            try:
                self._request_of(packet, partial(self.held.answer, key))
            except BlockingIOError:
                self.held.answer(key, UNANSWERED)
            except (OSError, PlatformError):
                self.held.answer(key, None)


def _key(packet: ip.Packet) -> bytes:
    """Packets with the same answer a request each, at most."""
    size = PORTS if packet.protocol in (ip.TCP, ip.UDP) else ICMP_HEADER
    start = bytes(packet.body[:size])
    return packet.source + packet.destination + bytes([packet.protocol]) + start
