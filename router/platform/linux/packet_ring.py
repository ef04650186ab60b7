"""Packets that a packet socket shares with this process in memory (TPACKET_V3 of packet(7),
linux/if_packet.h): the system writes them in blocks, and to read none of them costs nothing.

Always true: a block is the system's, or it is this process's until it is given back; while none is
the system's, what comes in is lost.

Must not know: what the packets are.
"""

from __future__ import annotations

import mmap
import socket
from collections.abc import Iterator
from struct import Struct
from typing import Final

from router.platform.base.capture import Captured

SOL_PACKET: Final = 263
PACKET_RX_RING, PACKET_VERSION = 5, 10
TPACKET_V3: Final = 2
BLOCK: Final = 1 << 16
"""Bytes."""
BLOCKS: Final = 64
MOST_KEPT: Final = BLOCKS // 2
"""Blocks: those that are not read are given back beyond that, so that there is room for others."""
FRAME: Final = 1 << 11
"""Bytes; of no meaning in this version, but that it has to divide a block."""
LONGEST: Final = 20
"""Milliseconds after which a block that is not full is this process's too."""

_REQUEST: Final = Struct("=7I")
"""struct tpacket_req3: size and number of blocks, size and number of frames, LONGEST, and what is
not used here."""
_STATUS: Final = Struct("=I")
AT_STATUS: Final = 8
_BLOCK_HEADER: Final = Struct("=8xIII")
"""Of struct tpacket_block_desc: status, number of packets, where the first is."""
_LAST_TIME: Final = Struct("=40xII")
"""Seconds and nanoseconds since 1970."""
_PACKET_HEADER: Final = Struct("=5I4x2xH")
"""Of struct tpacket3_hdr: where the next one is, seconds, nanoseconds, bytes that were copied, of
all; where the IP header is."""
OURS: Final = 1
"""TP_STATUS_USER."""


class PacketRing:
    """Of a packet socket, of which it is the only reader. Raises OSError where there is none."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(SOL_PACKET, PACKET_VERSION, TPACKET_V3)
        frames = BLOCK // FRAME * BLOCKS
        request = _REQUEST.pack(BLOCK, BLOCKS, FRAME, frames, LONGEST, 0, 0)
        sock.setsockopt(SOL_PACKET, PACKET_RX_RING, request)
        self._memory = mmap.mmap(sock.fileno(), BLOCK * BLOCKS)
        self._next = 0

    def close(self) -> None:
        self._memory.close()

    def read(self) -> Iterator[Captured]:
        """All packets of the blocks that are this process's, which are given back."""
        for _ in range(BLOCKS):
            start = self._next * BLOCK
            status, count, first = _BLOCK_HEADER.unpack_from(self._memory, start)
            if not status & OURS:
                return
            yield from self._packets(start + first, count)
            self._give_back()

    def discard(self, before: float) -> None:
        """Give back unread those of which the last packet came before a time, in seconds since
        1970, and all but the last MOST_KEPT."""
        kept = sum(self._is_ours(self._next + number) for number in range(BLOCKS))
        while self._is_ours(self._next):
            seconds, nanoseconds = _LAST_TIME.unpack_from(self._memory, self._next * BLOCK)
            if kept <= MOST_KEPT and seconds + nanoseconds / 1e9 >= before:
                return
            self._give_back()
            kept -= 1

    def _is_ours(self, number: int) -> bool:
        at = number % BLOCKS * BLOCK + AT_STATUS
        return bool(_STATUS.unpack_from(self._memory, at)[0] & OURS)

    def _give_back(self) -> None:
        _STATUS.pack_into(self._memory, self._next * BLOCK + AT_STATUS, 0)
        self._next = (self._next + 1) % BLOCKS

    def _packets(self, at: int, count: int) -> Iterator[Captured]:
        for _ in range(count):
            following, seconds, nanoseconds, copied, length, body = _PACKET_HEADER.unpack_from(
                self._memory, at
            )
            begin = at + body
            data = self._memory[begin : begin + copied]
            yield Captured(seconds + nanoseconds / 1e9, length, data)
            at += following
