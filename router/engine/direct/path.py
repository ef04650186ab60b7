"""The hot path of packets that leave directly: from a frame in the TUN to a raw socket.

Always true: only what `decisions` has decided leaves here, unchanged but for its hop limit; what
cannot be sent is refused as the system would refuse it, or dropped and counted, and the next packet
is not kept waiting.

Must not know: rules, policies, addresses of this machine.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from typing import Final, Protocol

from router.engine.direct.flow import DirectFlow, pair_of, pairs_in
from router.engine.direct.forwarded import LOOK_AFTER, ForwardedFlows
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
    AT_V4_PROTOCOL,
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

UNTIL_USUAL: Final = 64
"""Packets in a row."""
LONG: Final = 8
"""Packets that a frame counts for that the system has yet to cut, where it is counted how much a
flow moves."""
MOST_SIZES: Final = 2048
"""Of packets, whose views are kept."""

Receive = Callable[[], int]
"""See TunQueue.receive."""
CarryOther = Callable[[int, float, bool], int]
"""What carries a frame that does not leave directly: by its size, the time, and whether it is the
first of its turn. How many packets less than one it has cost."""


class CarryAll(Protocol):
    """See DirectPath.carry_all."""

    def __call__(
        self, receive: Receive, most: int, now: float, other: CarryOther | None = None
    ) -> int: ...


class DirectPath:
    """frame: of the TUN; see TunDevice. forwarded: flows that the system forwards itself. sent:
    what of it has no connection.

    carried: how many frames the last `carry_all` has read and sent, or left to another; others:
    whether there were any of these. failing: called with what could not be sent, or the first of
    its packets, before that is refused or dropped; None unless packets are traced.
    """

    def __init__(
        self,
        frame: bytearray,
        refusals: Refusals,
        drops: Drops,
        forwarded: ForwardedFlows,
        sent: SentFlows,
    ) -> None:
        self.forwarded = forwarded
        self.carried = 0
        self.others = False
        self.failing: Callable[[bytes], None] | None = None
        self._frame = frame
        self._view = memoryview(frame)
        self._unfinished = self._view[:2].cast("H")
        self._v4_pair, self._v6_pair = pairs_in(frame)
        self._packets: dict[int, memoryview] = {}
        self._refusals = refusals
        self._drops = drops
        self._flows: dict[Hashable, DirectFlow] = {}
        self._by_traffic: dict[Hashable, dict[int, DirectFlow]] = {}
        self._order: deque[tuple[Hashable, int]] = deque()
        self._by_both_ports = False
        self._usual: DirectFlow | None = None
        self._send_on: Callable[[memoryview], object] = len
        self._candidate: DirectFlow | None = None
        self._in_a_row = 0
        self._uncut = Uncut(frame, self.failed, self._note_failing, drops)
        self.sent = sent
        self._runs = Runs(frame, self.failed, self.sent)
        self.runs = self._runs.flows
        """True while something is kept that is to leave together with what follows it."""
        self.flush = self._runs.end
        """Send what was kept to leave together with what follows it; nothing follows it soon."""
        self.carry_all = self.carrier(self._flows, self._by_traffic, self._known_by_traffic)

    def carrier(
        self,
        flows: Mapping[Hashable, DirectFlow],
        by_traffic: Mapping[Hashable, object],
        known: Callable[[bytearray, int], DirectFlow | None],
    ) -> CarryAll:
        """`carry_all`: read frames, `most` at most, and send each of which it is decided that it
        leaves directly. Another one goes to `other`; or, without that, is the last: its size, and
        it is in the TUN's frame then; 0 if there was none. Raises BlockingIOError when nothing is
        left to read.

        flows: what is decided by a pair of addresses; known: what is decided otherwise about the
        frame, which is asked only while `by_traffic` is not empty.

        What passes here is most of the traffic, and half of the cost of a ping is Python's: so
        nothing is made anew for a packet that is always the same, what is used twice is local, and
        what stays the same is looked up here, as most turns have one packet.
        """
        frame, unfinished, packets = self._frame, self._unfinished, self._packets
        v4_pair, v6_pair, runs = self._v4_pair, self._v6_pair, self._runs

        def carry_all(
            receive: Receive, most: int, now: float, other: CarryOther | None = None
        ) -> int:
            former: DirectFlow | None = None
            carried = in_a_row = sizes = 0
            others = False
            try:
                while carried < most:
                    size = receive()
                    if frame[HEADER] >> 4 == 4:
                        flow, at = flows.get(v4_pair[0]), AT_V4_TTL
                    else:
                        flow, at = flows.get(v6_pair.tobytes()), AT_V6_HOP_LIMIT
                    flow = flow or (known(frame, size) if by_traffic else None)
                    if flow is None or (hops := frame[at]) <= flow.hops:
                        if other is None:
                            return size
                        carried += 1
                        others = True
                        most += other(size, now, carried == 1)
                        continue
                    carried += 1
                    special = unfinished[0] or runs.flows or now >= flow.look
                    if special and self._carry_special(flow, at, size, now):
                        continue
                    frame[at] = hops - flow.hops
                    packet = packets.get(size) or self._packet(size)
                    try:
                        if flow is self._usual:
                            self._send_on(packet)
                        else:
                            flow.send(packet, flow.address)
                    except OSError as error:
                        frame[at] = hops
                        flow.note_unjudged(error)
                        self.failed(flow, bytes(packet), error, now)
                    if flow is not former:
                        self._count(former, in_a_row, sizes)
                        former, in_a_row, sizes = flow, 0, 0
                    in_a_row += 1
                    sizes += size
                return 0
            finally:
                self.carried, self.others = carried, others
                if former is not None:
                    self._count(former, in_a_row, sizes)

        return carry_all

    def _carry_special(self, flow: DirectFlow, at: int, size: int, now: float) -> bool:
        """Finish a frame of which the system has left something undone, send it with others, or
        note it as a query; whether it has been sent, or is kept. at: where its hop limit stands,
        which is not counted before."""
        frame = self._frame
        if frame[1]:
            self._count_much(flow, LONG, size, now)
            self._uncut.carry(flow, size, now)
            return True
        frame[at] -= flow.hops
        protocol = frame[AT_V4_PROTOCOL if at == AT_V4_TTL else AT_V6_NEXT_HEADER]
        if protocol == ip.TCP:
            self._count_much(flow, 1, size, now)
        elif protocol == ip.UDP:
            if self._runs.carry(flow, size, now):
                return True
            self._count_alone(flow, size, now)
        if protocol == ip.FRAGMENT:
            self._runs.flush(now)
        if frame[0]:
            complete(frame, size)
        elif protocol in WITH_QUERIES and now >= flow.look:
            flow.look = now + LOOK_INTERVAL
            self.sent.note_query(frame, now)
            self._count_much(flow, 1, size, now)
        return False

    def _count_much(self, flow: DirectFlow, packets: int, size: int, now: float) -> None:
        """As many packets are on their way as the frame counts for."""
        flow.much += packets
        if flow.much >= LOOK_AFTER:
            flow.much = 0
            self.forwarded.look(flow, self._frame, size, now)

    def _count_alone(self, flow: DirectFlow, size: int, now: float) -> None:
        """A datagram leaves by itself."""
        flow.alone += 1
        if flow.alone >= LOOK_AFTER:
            flow.alone = 0
            self.forwarded.look(flow, self._frame, size, now)

    def _count(self, flow: DirectFlow | None, packets: int, sizes: int) -> None:
        """Packets of a flow that have left in a row, and the sizes of their frames. The flow that
        all packets belong to for some time becomes the usual one: not to name the destination saves
        a twentieth of the cost of a ping, and a socket can have one."""
        if flow is None:
            return
        flow.tally.packets_out += packets
        flow.tally.bytes_out += sizes - packets * HEADER
        if flow is self._usual:
            return
        if flow is not self._candidate:
            self._candidate, self._in_a_row = flow, 0
        self._in_a_row += packets
        if self._in_a_row >= UNTIL_USUAL:
            self._in_a_row = 0
            send_on = flow.connect()
            if send_on is not None:
                self._usual, self._send_on = flow, send_on

    def _packet(self, size: int) -> memoryview:
        """The packet of a frame of that size."""
        if len(self._packets) >= MOST_SIZES:
            self._packets.clear()
        packet = self._packets[size] = self._view[HEADER:size]
        return packet

    def known(self, frame: bytearray, size: int) -> DirectFlow | None:
        """What is decided about the frame."""
        pair = self._v4_pair[0] if frame[HEADER] >> 4 == 4 else self._v6_pair.tobytes()
        return self._flows.get(pair) or self._known_by_traffic(frame, size)

    def _known_by_traffic(self, frame: bytearray, size: int) -> DirectFlow | None:
        """The same, by its protocol and ports."""
        is_v4 = frame[HEADER] >> 4 == 4
        pair = self._v4_pair[0] if is_v4 else self._v6_pair.tobytes()
        by_traffic = self._by_traffic.get(pair)
        if by_traffic is None:
            return None
        return by_traffic.get(self._traffic(frame, HEADER, size))

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
            self._flows[pair] = flow
            self._by_traffic.pop(pair, None)
            return
        self._flows.pop(pair, None)
        by_traffic = self._by_traffic.setdefault(pair, {})
        if traffic != UNKNOWN:
            by_traffic[traffic] = flow

    def flow_between(self, pair: Hashable) -> DirectFlow | None:
        """What is decided about all between two addresses, see `pair_of`; None where that depends
        on protocol or ports, or is not decided."""
        return self._flows.get(pair)

    def _forget_oldest(self) -> None:
        pair, traffic = self._order.popleft()
        self._flows.pop(pair, None)
        by_traffic = self._by_traffic.get(pair)
        if by_traffic is not None:
            by_traffic.pop(traffic, None)
            if not by_traffic:
                del self._by_traffic[pair]

    def forget(self) -> set[Hashable]:
        """Decide again about everything; the pairs of addresses that were known."""
        known = self._flows.keys() | self._by_traffic.keys()
        self.forwarded.forget()
        self._flows.clear()
        self._by_traffic.clear()
        self._order.clear()
        self._usual = self._candidate = None
        return known

    def failed(self, flow: DirectFlow, data: bytes, error: OSError, now: float) -> None:
        """A packet could not be sent: tell its program what the system says, as far as ICMP has a
        word for it. `data` is what the program has sent, and may be damaged."""
        self._note_failing(data)
        try:
            packet = ip.parse(data)
        except ip.Malformed:
            self._drops.count(Drop.MALFORMED)
        else:
            self._refuse(flow, packet, error, now)

    def _note_failing(self, data: bytes) -> None:
        if self.failing is not None:
            self.failing(data)

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
