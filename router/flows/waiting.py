"""Packets that begin a flow and wait until there is time for them (router.flows.policer).

Always true: the first to come is the first to go; what waits is bounded in bytes and in seconds.

Must not know: sources, flows. Time is an argument, in seconds.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from router.wire import ip

MOST_BYTES: Final = 4 << 20
OVERHEAD: Final = 512
"""Bytes of memory that a packet takes beside its own."""
PATIENCE: Final = 1.0
"""Seconds; its sender has sent it again by then."""


class WaitingPackets:
    """A queue of packets. queue: with the time since which each waits, for others to look at."""

    def __init__(self) -> None:
        self.queue: deque[tuple[float, ip.Packet]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self.queue)

    def add(self, packet: ip.Packet, now: float) -> bool:
        """False if there is no room for it."""
        size = _size(packet)
        if self._bytes + size > MOST_BYTES:
            return False
        self._bytes += size
        self.queue.append((now, packet))
        return True

    def take(self, now: float) -> ip.Packet | None:
        """The next one, None in the place of one that has waited for too long. Raises IndexError
        when nothing waits."""
        since, packet = self.queue.popleft()
        self._bytes -= _size(packet)
        return packet if now - since <= PATIENCE else None


def _size(packet: ip.Packet) -> int:
    return len(packet.body) + OVERHEAD
