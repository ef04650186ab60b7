"""TCP segments on their way: rewritten and written back into the TUN.

Theory of operation. A segment of the application becomes one from the flow's alias to a listener of
ours, and what our kernel sends to the alias comes from the host that the application has connected
to (router.flows.tcp). `carry` does that in the TUN's frame for what segments usually are; `take` is
the slow way for the rest.

A request that our kernel leaves unanswered has been dropped by this machine's firewall; its
repetition shows that, and the application is told. Our kernel answers at once, into the TUN: a
request is unanswered only if the TUN has been empty since.

Always true: a SYN that our kernel would take for a new connection is not let in undialled, however
soon it follows the end of the one before.

Must not know: sockets, but that a flow has some.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Final

from router.engine.refusals import Refusals
from router.engine.tcp.connections import Connections
from router.engine.tcp.dial import Dialer
from router.engine.tcp.keepalive import QUIET, Keepalive
from router.engine.tcp.offloaded import BULK
from router.engine.tun_writer import TunWriter
from router.flows.drops import Drop, Drops
from router.flows.nat.quoted_tcp import quoted_key, translated
from router.flows.nat.rewrite import Rewrite
from router.flows.tcp.flow import Flow, State, mirrored
from router.flows.tcp.table import FlowTable
from router.outbound.base import Outbound
from router.wire import icmp, ip, offload, tcp
from router.wire.headers import TCP_FLAGS, TCP_SEQUENCE
from router.wire.offload import AT_V6_ADDRESSES, AT_V6_NEXT_HEADER

HEADER, TCP = offload.HEADER, ip.TCP
FIELDS_V4: Final = Struct("!xB4xHxB2x12s9xB")
"""Of an IPv4 header without options, and of TCP behind it: traffic class, fragment, protocol,
addresses and ports, flags."""
KEY_V6: Final = Struct("36s")
TCP_V4: Final = HEADER + ip.IPV4_HEADER
TCP_V6: Final = HEADER + ip.IPV6_HEADER
FLAGS_V6: Final = TCP_V6 + TCP_FLAGS
FRAGMENT_BITS: Final = ip.MORE_FRAGMENTS | ip.FRAGMENT_OFFSET
DSCP: Final = 0xFC
"""Of the traffic class (RFC 2474); the other two bits are of ECN, and each connection has its
own."""
MOST_UNANSWERED: Final = 2
"""Repetitions, 3 seconds (RFC 6298) after the request. One may be due to a full queue of the
listener, or to an answer that was lost on the LAN."""
NOTEWORTHY: Final = tcp.SYN | tcp.FIN | tcp.RST
SHORTEST: Final = tcp.HEADER


class Segments:
    """Segments of the flows of `table`.

    frame: where the TUN leaves what it has read; see TunDevice.
    is_ours: whether an address is one of this machine, from which the kernel takes no packet that
    comes in by the TUN.
    connections: those of the flows.
    """

    def __init__(
        self,
        frame: bytearray,
        table: FlowTable[Outbound],
        dialer: Dialer,
        keepalive: Keepalive,
        is_ours: Callable[[bytes], bool],
        connections: Connections,
        writer: TunWriter,
        refusals: Refusals,
        drops: Drops,
    ) -> None:
        self._frame = frame
        self._table = table
        self._rewrites = table.rewrites
        self._dialer = dialer
        self._keepalive = keepalive
        self._is_ours = is_ours
        self._has_ended = connections.has_ended
        self._set_traffic_class = connections.set_traffic_class
        self._offloaded = connections.offloaded
        self._writer = writer
        self._deliver_frame = writer.deliver_frame
        self._refusals = refusals
        self._drops = drops

    def carry(self, size: int, now: float) -> bool:
        """Rewrite the frame that has just been received and write it back, if it belongs to a flow
        and is as frames usually are; else nothing has happened. `size`: header included."""
        frame = self._frame
        first = frame[HEADER]
        if first == 0x45:
            traffic_class, fragment, protocol, key, flags = FIELDS_V4.unpack_from(frame, HEADER)
            if protocol != TCP or fragment & FRAGMENT_BITS:
                return False
            start = TCP_V4
        elif first >> 4 == 6 and frame[AT_V6_NEXT_HEADER] == TCP:
            (key,) = KEY_V6.unpack_from(frame, AT_V6_ADDRESSES)
            traffic_class = (first & 0x0F) << 4 | frame[HEADER + 1] >> 4
            flags = frame[FLAGS_V6]
            start = TCP_V6
        else:
            return False
        rewrite = self._rewrites.get(key)
        if rewrite is None or size - start < SHORTEST:
            return False
        flow = rewrite.owner
        if flags & NOTEWORTHY and not self._note(frame, start, rewrite):
            return False
        if now - flow.last > QUIET:
            if self._keepalive.holds(frame, size, start, rewrite):
                return True
            self._offloaded.touch(flow, now)
        flow.last = now
        tally = flow.tally
        length = size - HEADER
        if rewrite.outward:
            flow.packets_in += 1
            flow.bytes_in += length
            tally.packets_in += 1
            tally.bytes_in += length
        else:
            if (traffic_class ^ flow.traffic_class) & DSCP:
                self._follow(flow, traffic_class)
            flow.packets_out += 1
            flow.bytes_out += length
            tally.packets_out += 1
            tally.bytes_out += length
        if length > BULK:
            self._offloaded.begin(flow, now)
        rewrite.apply(frame, start)
        self._deliver_frame(size)
        return True

    def take(self, segment: ip.Packet, now: float) -> bool:
        """The same for an unusual segment, or one of a flow that is still dialling."""
        if not tcp.is_whole(segment):
            return False
        key = segment.source + segment.destination + tcp.ports(segment)
        rewrite = self._rewrites.get(key)
        if rewrite is None:
            flow = self._table.by_inside.get(key)
            return flow is not None and self._dialer.take(flow, segment, now)
        frame = bytearray(offload.NOTHING_LEFT + segment.data)
        start = offload.HEADER + segment.payload
        if not self._note(frame, start, rewrite):
            return False
        flow = rewrite.owner
        flow.last = now
        if rewrite.outward:
            flow.came_in(len(segment.data))
        else:
            if (segment.traffic_class ^ flow.traffic_class) & DSCP:
                self._follow(flow, segment.traffic_class)
            flow.went_out(len(segment.data))
        rewrite.apply(frame, start)
        self._writer.deliver(bytes(memoryview(frame)[offload.HEADER :]))
        return True

    def error_from_inside(self, error: ip.Packet) -> bool:
        """Write an ICMP error about a segment that the application was sent, as one about what our
        kernel sent; False if it is about no flow. It ends nothing (RFC 5382 REQ-10)."""
        key = quoted_key(error)
        rewrite = self._rewrites.get(mirrored(key)) if key else None
        if rewrite is None or rewrite.outward or error.destination != rewrite.owner.destination:
            return False
        if not icmp.has_valid_checksum(error):
            self._drops.count(Drop.BAD_CHECKSUM)
            return True
        source = error.source
        if self._is_ours(source):
            source = self._refusals.peers[error.version]
        self._writer.deliver(translated(error, source, rewrite.owner.answer_key))
        return True

    def _note_request(self, flow: Flow[Outbound], rewrite: Rewrite[Flow[Outbound]]) -> None:
        """A request of a flow that is not relayed yet is repeated, or answered."""
        if rewrite.outward:
            flow.unanswered = 0
            return
        if flow.asked == self._table.emptied:
            return  # the answer to the request before may still be in the TUN, behind this one
        flow.asked = self._table.emptied
        flow.unanswered += 1
        if flow.state is State.OPENING and flow.unanswered >= MOST_UNANSWERED:
            self._dialer.refuse_blocked(flow)

    def _follow(self, flow: Flow[Outbound], traffic_class: int) -> None:
        """The application marks its segments otherwise from now on."""
        flow.traffic_class = traffic_class
        self._offloaded.end(flow)
        self._set_traffic_class(flow, traffic_class)

    def _note(self, frame: bytearray, start: int, rewrite: Rewrite[Flow[Outbound]]) -> bool:
        """Record a SYN, FIN or RST that passes; False if it does not belong to the flow."""
        flow, flags = rewrite.owner, frame[start + TCP_FLAGS]
        if flags & tcp.FIN:
            flow.fins |= 1 + rewrite.outward
        at = start + TCP_SEQUENCE
        sequence = int.from_bytes(frame[at : at + 4], "big")
        opens_another = flags & tcp.SYN and not rewrite.outward and sequence != flow.sequence
        if flow.state is State.RELAYED:
            if opens_another and self._has_ended(flow):
                self._offloaded.end(flow)
                self._table.end(flow)
                return False
            return True
        if opens_another:
            self._dialer.abandon(flow)
            return False
        if flags & tcp.SYN:
            self._note_request(flow, rewrite)
        if flags & tcp.RST and (flow.state is State.LINGERING or sequence == flow.after_request):
            self._dialer.abandon(flow)
        return True
