"""Datagrams of one sender to one port that are in the TUN one behind the other, and leave together:
one frame that the system cuts (UDP segmentation), on the direct path.

Such a frame passes by the host's firewall, see `uncut`: so the first datagram of a conversation,
and one of each SAMPLE_INTERVAL, leaves by the raw socket, and so do all as long as the firewall
refuses that.

Always true: datagrams leave in their order; one that is like none before it leaves at once, since
flows that take turns would never fill a frame; `end` is called before the loop waits.

Must not know: where the packet socket is allowed.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from struct import Struct, pack_into
from typing import Final

from router.engine.direct.flow import DirectFlow
from router.engine.direct.uncut import Failed
from router.wire import ip, offload, udp
from router.wire.checksum import ones_complement_sum
from router.wire.headers import (
    PORTS,
    UDP_CHECKSUM,
    UDP_LENGTH,
    V4_TOTAL_LENGTH,
    V6_PAYLOAD_LENGTH,
    fill_in_v4_checksum,
)
from router.wire.offload import (
    AT_V4_ADDRESSES,
    AT_V4_FRAGMENT,
    AT_V6_ADDRESSES,
    FIELDS,
    HEADER,
)

V4_ALIKE: Final = Struct("=4s2x4s2x14s")
"""All of an IPv4 header without options and a UDP header but for identification and checksums."""
V6_ALIKE: Final = Struct("=46s")
V4_PLAIN: Final = 0x45
FRAGMENTED: Final = 0x3FFF
MOST: Final = 64
"""Datagrams in a frame (UDP_MAX_SEGMENTS in include/linux/udp.h)."""
LONGEST: Final = 65_000
"""Bytes of a frame."""
NOT_SUPPORTED: Final = (errno.EINVAL, errno.EIO)
"""Of a kernel that takes no frames of datagrams (before Linux 6.2)."""


class Runs:
    """frame: of the TUN. failed: called with a packet that could not be sent. flow: whose datagrams
    are kept; None while none are."""

    def __init__(self, frame: bytearray, failed: Failed) -> None:
        self._frame = frame
        self._failed = failed
        self._buffer = bytearray(HEADER + 0x10000)
        self._view = memoryview(self._buffer)
        self.flow: DirectFlow | None = None
        self._alike: tuple[bytes, ...] = ()
        self._last: tuple[bytes, ...] = ()
        self._count = self._end = self._start = 0

    def carry(self, flow: DirectFlow, size: int, now: float) -> bool:
        """Keep a frame of UDP to send it with those that follow; false where it has to leave by
        itself. Its hop limit is counted already."""
        frame = self._frame
        if frame[0] and frame[HEADER] == V4_PLAIN:
            start, alike = ip.IPV4_HEADER, V4_ALIKE.unpack_from(frame, HEADER)
        elif frame[0] and frame[HEADER] >> 4 == 6:
            start, alike = ip.IPV6_HEADER, V6_ALIKE.unpack_from(frame, HEADER)
        else:
            self.flush(now)
            return False
        payload = HEADER + start + udp.HEADER
        if flow is self.flow and alike == self._alike:
            end = self._end
            self._end = after = end + size - payload
            self._buffer[end:after] = frame[payload:size]
            self._count += 1
            if self._count == MOST or after > LONGEST - size:
                self.flush(now)
            return True
        self.flush(now)
        if alike != self._last:
            self._last = alike
            return False
        if not self._may_begin(flow, start, size, now):
            return False
        self.flow, self._alike, self._start = flow, alike, start
        self._buffer[:size] = frame[:size]
        self._end, self._count = size, 1
        return True

    def end(self, now: float) -> None:
        """Send what was kept, and expect nothing more that is like it."""
        self.flush(now)
        self._last = ()

    def flush(self, now: float) -> None:
        """Send what was kept."""
        flow, self.flow = self.flow, None
        if flow is None:
            return
        headers = self._start + udp.HEADER
        flow.tally.packets_out += self._count
        flow.tally.bytes_out += self._end - HEADER + (self._count - 1) * headers
        if self._count == 1 or not self._send_together(flow, now):
            self._send_apart(flow, now)

    def _may_begin(self, flow: DirectFlow, start: int, size: int, now: float) -> bool:
        """Whether a frame may be the first of several, and no sample is due."""
        frame = self._frame
        if not flow.sender.frames_take_datagrams or size - HEADER > flow.mtu:
            return False
        fragment = frame[AT_V4_FRAGMENT] << 8 | frame[AT_V4_FRAGMENT + 1]
        if start == ip.IPV4_HEADER and fragment & FRAGMENTED:
            return False
        at = HEADER + start
        length = frame[at + UDP_LENGTH] << 8 | frame[at + UDP_LENGTH + 1]
        if length != size - at or length <= udp.HEADER:
            return False
        ports = bytes(frame[at : at + PORTS])
        return not flow.sample(ports, now) and ports not in flow.refused

    def _send_together(self, flow: DirectFlow, now: float) -> bool:
        """By the packet socket; whether that was possible."""
        frames = flow.sender.frames
        assert frames is not None
        headers = bytes(self._buffer[: HEADER + self._start + udp.HEADER])
        self._put_headers_of_all()
        try:
            if frames.send(self._view, self._end, flow.destination):
                return True
        except OSError as error:
            if error.errno not in NOT_SUPPORTED:
                self._failed(flow, next(self._packets()), error, now)
                return True
            flow.sender.frames_take_datagrams = False
        self._buffer[: len(headers)] = headers
        return False

    def _put_headers_of_all(self) -> None:
        """Make the headers of the first datagram those of one that has the payloads of all."""
        buffer, start, end = self._buffer, self._start, self._end
        size = self._payload_size()
        length = end - HEADER - start
        pack_into("!H", buffer, HEADER + start + UDP_LENGTH, length)
        if start == ip.IPV4_HEADER:
            pack_into("!H", buffer, HEADER + V4_TOTAL_LENGTH, end - HEADER)
            fill_in_v4_checksum(buffer, HEADER, HEADER + start)
            addresses = self._view[AT_V4_ADDRESSES : HEADER + start]
        else:
            pack_into("!H", buffer, HEADER + V6_PAYLOAD_LENGTH, length)
            addresses = self._view[AT_V6_ADDRESSES : HEADER + start]
        pseudo = ones_complement_sum(bytes(addresses), length + ip.UDP)
        pack_into("!H", buffer, HEADER + start + UDP_CHECKSUM, pseudo)
        kind, headers = offload.SEGMENT_UDP, start + udp.HEADER
        FIELDS.pack_into(
            buffer, 0, offload.NEEDS_CHECKSUM, kind, headers, size, start, UDP_CHECKSUM
        )

    def _send_apart(self, flow: DirectFlow, now: float) -> None:
        """By the raw socket, one by one."""
        for packet in self._packets():
            try:
                flow.send(packet, flow.address)
            except OSError as error:
                self._failed(flow, packet, error, now)

    def _packets(self) -> Iterator[bytes]:
        """The datagrams as they were in the TUN."""
        begin = HEADER + self._start + udp.HEADER
        headers = self._buffer[:begin]
        size = self._payload_size()
        for at in range(begin, self._end, size):
            one = headers + self._buffer[at : at + size]
            offload.complete(one, len(one))
            yield bytes(one[HEADER:])

    def _payload_size(self) -> int:
        """Of each datagram, in bytes."""
        at = HEADER + self._start + UDP_LENGTH
        return (self._buffer[at] << 8 | self._buffer[at + 1]) - udp.HEADER
