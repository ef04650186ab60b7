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

import sys
from collections.abc import Callable
from typing import Final, NamedTuple

from router.engine.direct.flow import DirectFlow
from router.flows.drops import Drop, Drops
from router.platform.base.sockets import FrameSocket
from router.wire import offload
from router.wire.headers import PORTS, V4_TTL, V6_HOP_LIMIT
from router.wire.offload import AT_V4_CHECKSUM, FIELDS, HEADER

AT_V4_TTL: Final = HEADER + V4_TTL
AT_V6_HOP_LIMIT: Final = HEADER + V6_HOP_LIMIT
A_HOP: Final = int.from_bytes((1, 0), sys.byteorder)
"""In the 16 bits of an IPv4 header that begin with the TTL, as this machine reads them."""
MOST_SHAPES: Final = 256

Failed = Callable[[DirectFlow, bytes, OSError, float], None]


class Shape(NamedTuple):
    """What frames with the same virtio-net header have in common. headers, segment, longest: the
    bytes of the headers, of the payload of a segment, and of both. ports: where they stand in the
    frame of the TUN."""

    headers: int
    segment: int
    longest: int
    ports: memoryview


class Uncut:
    """frame: of the TUN. failed: called with a packet that could not be sent; refused: with the
    first one of a frame that is dropped."""

    def __init__(
        self, frame: bytearray, failed: Failed, refused: Callable[[bytes], None], drops: Drops
    ) -> None:
        self._frame = frame
        self._view = memoryview(frame)
        self._fields = self._view[:HEADER]
        self._v4_checksum = self._view[AT_V4_CHECKSUM : AT_V4_CHECKSUM + 2].cast("H")
        self._shapes: dict[bytes, Shape] = {}
        self._failed = failed
        self._refused = refused
        self._drops = drops

    def carry(self, flow: DirectFlow, size: int, now: float) -> None:
        """Send the frame, whose hop limit is above `flow.hops`."""
        fields = self._fields.tobytes()
        headers, segment, longest, ports_in = self._shapes.get(fields) or self._shape(fields)
        ports, tally, frames = ports_in.tobytes(), flow.tally, flow.sender.frames
        packets = max(1, -((headers - size) // segment))
        tally.packets_out += packets
        tally.bytes_out += size - HEADER + (packets - 1) * (headers - HEADER)
        if frames is None or longest > flow.mtu or flow.sample(ports, now):
            self._cut(flow, size, now)
        elif ports in flow.refused:
            self._refused(next(offload.packets(self._frame, size)))
            self._drops.count(Drop.REFUSED_BY_HOST)
        elif not self._send(frames, flow, size, now):
            self._cut(flow, size, now)

    def _shape(self, fields: bytes) -> Shape:
        _, _, length, segment, start, _ = FIELDS.unpack(fields)
        ports = self._view[HEADER + start : HEADER + start + PORTS]
        if len(self._shapes) >= MOST_SHAPES:
            self._shapes.clear()
        shape = Shape(HEADER + length, segment or 1, length + segment, ports)
        self._shapes[fields] = shape
        return shape

    def _send(self, frames: FrameSocket, flow: DirectFlow, size: int, now: float) -> bool:
        """By the packet socket; whether that was possible."""
        self._count_hops(flow.hops)
        try:
            if frames.send(self._view, size, flow.destination):
                return True
        except OSError as error:
            self._count_hops(-flow.hops)
            self._failed(flow, next(offload.packets(self._frame, size)), error, now)
            return True
        self._count_hops(-flow.hops)
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

    def _count_hops(self, hops: int) -> None:
        """Lower the hop limit, and raise the checksum with it (RFC 1624): its sum is the same in
        either order of bytes (RFC 1071, section 2 B)."""
        frame = self._frame
        if frame[HEADER] >> 4 != 4:
            frame[AT_V6_HOP_LIMIT] -= hops
            return
        frame[AT_V4_TTL] -= hops
        total = self._v4_checksum[0] + A_HOP * hops
        self._v4_checksum[0] = (total & 0xFFFF) + (total >> 16)
