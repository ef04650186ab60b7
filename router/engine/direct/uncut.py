"""TCP frames that the system has yet to cut (GSO), on the direct path.

A packet socket takes them whole, and passes by the host's firewall. So the first frame of a
connection, and one of each SAMPLE_INTERVAL, is cut here and leaves by the raw socket, which the
firewall judges; when it is refused, so are the frames that follow, until a sample is let through
again.

Always true: what leaves uncut belongs to a connection of which a segment passed the firewall less
than SAMPLE_INTERVAL ago.

Must not know: where the packet socket is allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import pack_into
from typing import Final

from router.engine.direct.flow import DirectFlow
from router.flows.drops import Drop, Drops
from router.wire import offload
from router.wire.headers import PORTS, V4_CHECKSUM, V4_TTL, V6_HOP_LIMIT
from router.wire.offload import FIELDS, HEADER

AT_V4_TTL: Final = HEADER + V4_TTL
AT_V4_CHECKSUM: Final = HEADER + V4_CHECKSUM
AT_V6_HOP_LIMIT: Final = HEADER + V6_HOP_LIMIT

Failed = Callable[[DirectFlow, bytes, OSError, float], None]


class Uncut:
    """frame: of the TUN. failed: called with a packet that could not be sent; refused: with the
    first one of a frame that is dropped."""

    def __init__(
        self, frame: bytearray, failed: Failed, refused: Callable[[bytes], None], drops: Drops
    ) -> None:
        self._frame = frame
        self._view = memoryview(frame)
        self._failed = failed
        self._refused = refused
        self._drops = drops

    def carry(self, flow: DirectFlow, size: int, now: float) -> bool:
        """Send the frame; true. Its hop limit is above `flow.hops`."""
        _, _, length, segment, start, _ = FIELDS.unpack_from(self._frame)
        ports = bytes(self._frame[HEADER + start : HEADER + start + PORTS])
        frames = flow.sender.frames
        flow.tally.packets_out += max(1, -(-(size - HEADER - length) // max(segment, 1)))
        flow.tally.bytes_out += size - HEADER
        if frames is None or length + segment > flow.mtu or flow.sample(ports, now):
            self._cut(flow, size, now)
        elif ports in flow.refused:
            self._refused(next(offload.packets(self._frame, size)))
            self._drops.count(Drop.REFUSED_BY_HOST)
        elif not self._send(flow, size, now):
            self._cut(flow, size, now)
        return True

    def _send(self, flow: DirectFlow, size: int, now: float) -> bool:
        """By the packet socket; whether that was possible."""
        frames = flow.sender.frames
        assert frames is not None
        self._count_hops(-flow.hops)
        try:
            if frames.send(self._view, size, flow.destination):
                return True
        except OSError as error:
            self._count_hops(flow.hops)
            self._failed(flow, next(offload.packets(self._frame, size)), error, now)
            return True
        self._count_hops(flow.hops)
        return False

    def _cut(self, flow: DirectFlow, size: int, now: float) -> None:
        """By the raw socket, segment by segment."""
        at = V4_TTL if self._frame[HEADER] >> 4 == 4 else V6_HOP_LIMIT
        is_first = True
        for segment in offload.packets(self._frame, size):
            packet = bytearray(segment)
            packet[at] -= flow.hops
            try:
                flow.send(packet, flow.address)
            except OSError as error:
                if is_first:
                    flow.note_unjudged(error)
                self._failed(flow, segment, error, now)
                break
            is_first = False

    def _count_hops(self, change: int) -> None:
        """Change the hop limit, and the checksum with it (RFC 1624)."""
        frame = self._frame
        if frame[HEADER] >> 4 != 4:
            frame[AT_V6_HOP_LIMIT] += change
            return
        frame[AT_V4_TTL] += change
        total = (frame[AT_V4_CHECKSUM] << 8 | frame[AT_V4_CHECKSUM + 1]) - 0x100 * change
        pack_into("!H", frame, AT_V4_CHECKSUM, (total & 0xFFFF) + (total >> 16) & 0xFFFF)
