"""The hot path of packets that leave directly: from a frame in the TUN to a raw socket.

Always true: only what `decisions` has decided leaves here, unchanged but for its hop limit; what
cannot be sent is refused as the system would refuse it, or dropped and counted, and the next packet
is not kept waiting.

Must not know: rules, policies, addresses of this machine.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Hashable
from typing import Final

from router.engine.direct.flow import V4_PAIR, V6_PAIR, DirectFlow, pair_of
from router.engine.direct.runs import Runs
from router.engine.direct.sent import LOOK_INTERVAL, SentFlows
from router.engine.direct.uncut import Uncut
from router.engine.refusals import Refusals
from router.flows.drops import Drop, Drops
from router.outbound.direct import send_fragments
from router.wire import icmp, ip
from router.wire.headers import (
    ICMP_HEADER,
    PORTS,
    V4_FRAGMENT,
    V4_PROTOCOL,
    V4_TTL,
    V6_HOP_LIMIT,
    V6_NEXT_HEADER,
)
from router.wire.icmp import Error
from router.wire.offload import (
    AT_V4_ADDRESSES,
    AT_V4_PROTOCOL,
    AT_V6_ADDRESSES,
    AT_V6_NEXT_HEADER,
    HEADER,
    complete,
)

AT_V4_TTL: Final = HEADER + V4_TTL
AT_V6_HOP_LIMIT: Final = HEADER + V6_HOP_LIMIT
MOST: Final = 65_536
"""Decisions that are remembered, of pairs of addresses or their ports; then the oldest is made
again."""
WITH_PORTS: Final = (ip.TCP, ip.UDP)
WITH_QUERIES: Final = (ip.ICMP, ip.ICMPV6)
NO_WAY: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENODEV)

UNKNOWN: Final = -1

_Known = DirectFlow | dict[int, DirectFlow]


class DirectPath:
    """frame: of the TUN; see TunDevice. sent: what of it has no connection."""

    def __init__(self, frame: bytearray, refusals: Refusals, drops: Drops) -> None:
        self._frame = frame
        self._view = memoryview(frame)
        self._refusals = refusals
        self._drops = drops
        self._known: dict[Hashable, _Known] = {}
        self._order: deque[tuple[Hashable, int]] = deque()
        self._by_both_ports = False
        self._uncut = Uncut(frame, self.failed, drops)
        self.sent = SentFlows()
        self._runs = Runs(frame, self.failed, self.sent)

    def carry(self, size: int, now: float) -> bool:
        """Send the frame if it is decided that it leaves directly; `size` counts its header."""
        frame = self._frame
        if frame[HEADER] >> 4 == 4:
            known = self._known.get(V4_PAIR.unpack_from(frame, AT_V4_ADDRESSES))
            at, protocol = AT_V4_TTL, frame[AT_V4_PROTOCOL]
        else:
            known = self._known.get(V6_PAIR.unpack_from(frame, AT_V6_ADDRESSES))
            at, protocol = AT_V6_HOP_LIMIT, frame[AT_V6_NEXT_HEADER]
        if known is None:
            return False
        if isinstance(known, dict):
            known = known.get(self._traffic(frame, HEADER, size))
            if known is None:
                return False
        hops = frame[at]
        if hops <= known.hops:
            return False
        if frame[1]:
            return self._uncut.carry(known, size, now)
        frame[at] = hops - known.hops
        if protocol == ip.UDP and self._runs.carry(known, size, now):
            return True
        if frame[0]:
            complete(frame, size)
        elif protocol in WITH_QUERIES and now >= known.look:
            known.look = now + LOOK_INTERVAL
            self.sent.note_query(frame, now)
        try:
            known.send(self._view[HEADER:size], known.address)
        except OSError as error:
            frame[at] = hops
            known.note_unjudged(error)
            self.failed(known, bytes(self._view[HEADER:size]), error, now)
        tally = known.tally
        tally.packets_out += 1
        tally.bytes_out += size - HEADER
        return True

    def flush(self, now: float) -> None:
        """Send what was kept to leave together with what follows it; nothing follows it soon."""
        self._runs.end(now)

    def send(self, flow: DirectFlow, packet: ip.Packet, now: float) -> None:
        """Send a packet that has just been decided on; its hop limit is above `flow.hops`."""
        flow.tally.went_out(len(packet.data))
        try:
            flow.send(flow.as_sent(packet), flow.address)
        except OSError as error:
            self._refuse(flow, packet, error, now)

    def distinguish(self, *, by_both_ports: bool) -> None:
        """What `know` does with `by_port`; others are forgotten before it changes."""
        self._by_both_ports = by_both_ports

    def know(self, packet: ip.Packet, flow: DirectFlow, *, by_port: bool) -> None:
        """Let what is like `packet` leave so from now on: all between these addresses, or with
        `by_port` what has the same protocol and destination port; where both ports are
        distinguished, the same ports, or ICMP type and identifier."""
        pair = pair_of(packet)
        traffic = self._traffic(packet.data, 0, len(packet.data)) if by_port else UNKNOWN
        if len(self._order) >= MOST:
            self._forget_oldest()
        self._order.append((pair, traffic))
        if not by_port:
            self._known[pair] = flow
            return
        by_traffic = self._known.get(pair)
        if not isinstance(by_traffic, dict):
            by_traffic = self._known[pair] = {}
        if traffic != UNKNOWN:
            by_traffic[traffic] = flow

    def _forget_oldest(self) -> None:
        pair, traffic = self._order.popleft()
        known = self._known.get(pair)
        if isinstance(known, dict):
            known.pop(traffic, None)
            if known:
                return
        self._known.pop(pair, None)

    def forget(self) -> dict[Hashable, _Known]:
        """Decide again about everything; what was known."""
        known, self._known = self._known, {}
        self._order.clear()
        return known

    def failed(self, flow: DirectFlow, data: bytes, error: OSError, now: float) -> None:
        """A packet could not be sent: tell its program what the system says, as far as ICMP has a
        word for it. `data` is what the program has sent, and may be damaged."""
        try:
            packet = ip.parse(data)
        except ip.Malformed:
            self._drops.count(Drop.MALFORMED)
        else:
            self._refuse(flow, packet, error, now)

    def _refuse(self, flow: DirectFlow, packet: ip.Packet, error: OSError, now: float) -> None:
        if error.errno == errno.EPERM:
            flow.note_refused(packet.data[packet.payload : packet.payload + PORTS])
            self._refusals.refuse(packet, Error.PROHIBITED, Drop.REFUSED_BY_HOST, now)
        elif error.errno == errno.EMSGSIZE:
            self._too_big(flow, packet, now)
        elif error.errno in NO_WAY:
            self._refusals.refuse(packet, Error.NO_ROUTE, Drop.UNREACHABLE, now)
        else:
            self._drops.count(Drop.NO_BUFFER)

    def _too_big(self, flow: DirectFlow, packet: ip.Packet, now: float) -> None:
        if packet.dont_fragment or len(packet.data) <= flow.mtu:
            mtu = flow.path_mtu(packet.version)
            self._refusals.refuse(packet, Error.TOO_BIG, Drop.TOO_BIG, now, mtu)
            return
        try:
            send_fragments(flow.send, flow.as_sent(packet), flow.address, flow.mtu)
        except OSError:
            self._drops.count(Drop.NO_BUFFER)

    def _traffic(self, data: bytes | bytearray, start: int, size: int) -> int:
        """Protocol, and ports as they are distinguished, of the packet in data[start:size];
        UNKNOWN where they stand elsewhere or are missing."""
        if data[start] >> 4 == 4:
            protocol = data[start + V4_PROTOCOL]
            at = start + ((data[start] & 0x0F) << 2)
            if data[start + V4_FRAGMENT] & 0x3F or data[start + V4_FRAGMENT + 1]:
                return UNKNOWN
        else:
            protocol = data[start + V6_NEXT_HEADER]
            at = start + ip.IPV6_HEADER
        if protocol in WITH_PORTS and at + PORTS <= size:
            port = data[at + 2] << 8 | data[at + 3]
            if self._by_both_ports:
                port |= data[at] << 24 | data[at + 1] << 16
            return protocol << 32 | port
        if protocol in (icmp.protocol_of(4), icmp.protocol_of(6)):
            if not self._by_both_ports:
                return protocol << 32
            if at + ICMP_HEADER <= size:
                return protocol << 32 | data[at] << 16 | data[at + 4] << 8 | data[at + 5]
        return UNKNOWN
