"""Datagrams of one flow that are in the TUN at the same time leave together: in one frame that the
system cuts (UDP segmentation), on the direct path.

Such a frame passes by the host's firewall, see `uncut`: so the first datagram of a conversation,
and one of each SAMPLE_INTERVAL, leaves by the raw socket, and so do all as long as the firewall
refuses that.

Always true: the datagrams of a flow leave in their order, also while flows take turns; the first of
a flow leaves at once, unless the flow had a frame in the turn before; `end` is called before the
loop waits.

Must not know: where the packet socket is allowed.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from struct import Struct, pack_into
from typing import Final

from router.engine.direct.flow import DirectFlow
from router.engine.direct.sent import SentFlows
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

V4_ALIKE: Final = Struct("=4s2x4s2x12s2s")
V6_ALIKE: Final = Struct("=6s2s36s2s")
"""All of an IP header without options and a UDP header but for identification and checksums: two
parts of the IP header, addresses and ports, and the length of the datagram."""
V4_PLAIN: Final = 0x45
FRAGMENTED: Final = 0x3FFF
MOST: Final = 64
"""Datagrams in a frame (UDP_MAX_SEGMENTS in include/linux/udp.h)."""
MOST_FLOWS: Final = 16
"""Of which datagrams are kept at a time."""
LONGEST: Final = 65_000
"""Bytes of a frame."""
NOTHING: Final = bytearray()
NOT_SUPPORTED: Final = (errno.EINVAL, errno.EIO)
"""Of a kernel that takes no frames of datagrams (before Linux 6.2)."""


class Run:
    """The datagrams of a flow in this turn. count: of those that are kept, in `buffer` up to `end`;
    start: of the UDP header in the packet. alike: what all of them have in common, beside addresses
    and ports. had_frame: whether several have left in one."""

    __slots__ = ("alike", "buffer", "count", "end", "flow", "had_frame", "start", "view")

    def __init__(self, flow: DirectFlow, alike: tuple[bytes, bytes, bytes]) -> None:
        self.flow = flow
        self.alike = alike
        self.count = self.end = self.start = 0
        self.had_frame = False
        self.buffer = NOTHING
        self.view = memoryview(self.buffer)

    @property
    def payload_size(self) -> int:
        """Of each datagram, in bytes."""
        at = HEADER + self.start + UDP_LENGTH
        return (self.buffer[at] << 8 | self.buffer[at + 1]) - udp.HEADER

    def packets(self) -> Iterator[bytes]:
        """The datagrams as they were in the TUN."""
        begin = HEADER + self.start + udp.HEADER
        headers = self.buffer[:begin]
        size = self.payload_size
        for at in range(begin, self.end, size):
            one = headers + self.buffer[at : at + size]
            offload.complete(one, len(one))
            yield bytes(one[HEADER:])


class Runs:
    """frame: of the TUN. failed: called with a packet that could not be sent. sent: gets the flows
    of each turn.

    flows: of which there have been datagrams in this turn.
    """

    def __init__(self, frame: bytearray, failed: Failed, sent: SentFlows) -> None:
        self._frame = frame
        self._failed = failed
        self._sent = sent
        self.flows: dict[bytes, Run] = {}
        self._busy: set[bytes] = set()
        self._buffers: list[bytearray] = []

    def carry(self, flow: DirectFlow, size: int, now: float) -> bool:
        """Keep a frame of UDP to send it with those that follow; false where it has to leave by
        itself. Its hop limit is counted already."""
        frame = self._frame
        if frame[0] and frame[HEADER] == V4_PLAIN:
            start = ip.IPV4_HEADER
            first, second, key, length = V4_ALIKE.unpack_from(frame, HEADER)
        elif frame[0] and frame[HEADER] >> 4 == 6:
            start = ip.IPV6_HEADER
            first, second, key, length = V6_ALIKE.unpack_from(frame, HEADER)
        else:
            self.flush(now)
            return False
        alike = first, second, length
        run = self.flows.get(key)
        if run is None:
            return self._first(key, flow, alike, now) and self._begin(
                self.flows[key], start, size, now
            )
        if run.alike != alike or run.flow is not flow:
            self._send(run, now)
            run.flow, run.alike = flow, alike
            return False
        if not run.count:
            return self._begin(run, start, size, now)
        self._append(run, start, size, now)
        return True

    def end(self, now: float) -> None:
        """Send what was kept, and expect nothing more that is like it."""
        if self.flows:
            self.flush(now)
            self._busy = {key for key, run in self.flows.items() if run.had_frame}
            self.flows.clear()

    def flush(self, now: float) -> None:
        """Send what was kept."""
        for run in self.flows.values():
            self._send(run, now)

    def _first(
        self, key: bytes, flow: DirectFlow, alike: tuple[bytes, bytes, bytes], now: float
    ) -> bool:
        """Note a flow of this turn; whether a frame may begin at once."""
        self._sent.note_key(key, now)
        if len(self.flows) >= MOST_FLOWS:
            return False
        self.flows[key] = Run(flow, alike)
        return key in self._busy

    def _begin(self, run: Run, start: int, size: int, now: float) -> bool:
        """Keep the first one of a frame, if it may be."""
        if not self._may_begin(run.flow, start, size, now):
            return False
        run.buffer = self._buffers.pop() if self._buffers else bytearray(HEADER + 0x10000)
        run.view = memoryview(run.buffer)
        run.buffer[:size] = self._frame[:size]
        run.start, run.end, run.count = start, size, 1
        return True

    def _append(self, run: Run, start: int, size: int, now: float) -> None:
        payload = HEADER + start + udp.HEADER
        end = run.end
        run.end = after = end + size - payload
        run.buffer[end:after] = self._frame[payload:size]
        run.count += 1
        if run.count == MOST or after > LONGEST - size:
            self._send(run, now)

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

    def _send(self, run: Run, now: float) -> None:
        """What was kept of a flow."""
        if not run.count:
            return
        flow = run.flow
        headers = run.start + udp.HEADER
        flow.tally.packets_out += run.count
        flow.tally.bytes_out += run.end - HEADER + (run.count - 1) * headers
        if run.count == 1 or not self._send_together(run, now):
            self._send_apart(run, now)
        run.count = 0
        run.view.release()
        self._buffers.append(run.buffer)

    def _send_together(self, run: Run, now: float) -> bool:
        """By the packet socket; whether that was possible."""
        frames = run.flow.sender.frames
        assert frames is not None
        headers = bytes(run.buffer[: HEADER + run.start + udp.HEADER])
        _put_headers_of_all(run)
        try:
            if frames.send(run.view, run.end, run.flow.destination):
                run.had_frame = True
                run.flow.alone = 0
                return True
        except OSError as error:
            if error.errno not in NOT_SUPPORTED:
                run.buffer[: len(headers)] = headers
                self._failed(run.flow, next(run.packets()), error, now)
                return True
            run.flow.sender.frames_take_datagrams = False
        run.buffer[: len(headers)] = headers
        return False

    def _send_apart(self, run: Run, now: float) -> None:
        """By the raw socket, one by one."""
        for packet in run.packets():
            try:
                run.flow.send(packet, run.flow.address)
            except OSError as error:
                self._failed(run.flow, packet, error, now)


def _put_headers_of_all(run: Run) -> None:
    """Make the headers of the first datagram those of one that has the payloads of all."""
    buffer, start, end = run.buffer, run.start, run.end
    size = run.payload_size
    length = end - HEADER - start
    pack_into("!H", buffer, HEADER + start + UDP_LENGTH, length)
    if start == ip.IPV4_HEADER:
        pack_into("!H", buffer, HEADER + V4_TOTAL_LENGTH, end - HEADER)
        fill_in_v4_checksum(buffer, HEADER, HEADER + start)
        addresses = run.view[AT_V4_ADDRESSES : HEADER + start]
    else:
        pack_into("!H", buffer, HEADER + V6_PAYLOAD_LENGTH, length)
        addresses = run.view[AT_V6_ADDRESSES : HEADER + start]
    pseudo = ones_complement_sum(bytes(addresses), length + ip.UDP)
    addresses.release()
    pack_into("!H", buffer, HEADER + start + UDP_CHECKSUM, pseudo)
    kind, headers = offload.SEGMENT_UDP, start + udp.HEADER
    FIELDS.pack_into(buffer, 0, offload.NEEDS_CHECKSUM, kind, headers, size, start, UDP_CHECKSUM)
