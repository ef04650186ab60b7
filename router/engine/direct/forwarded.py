"""Flows of the direct path whose plain packets the system forwards itself; see ADR 035 and
router.platform.base.flow_offload.

Theory of operation. Now and then a packet is looked at: of those between two addresses, one after
LOOK_AFTER others. A flow that is met twice moves much. Its packets are forwarded from then on, if
nothing of the host may refuse one of them by its interface. Of datagrams those are looked at that
come one by one: others leave in runs, more of them than the kernel forwards, as that is done by the
processor of the program. What begins and ends a connection passes the router, and so do fragments,
and what follows any of these.

So that none overtakes another, forwarding begins when the TUN has been read to its end. Packets may
come while that is found out: so the reader calls `note_left` when it has found the TUN empty, and
`nothing_left` if it is still empty then. The system forwards nothing that comes in between.

While datagrams come faster than they are sent on, the TUN is never empty, and loses what it has no
room for: nothing slows their sender down. So the system has it wait before each one, for some
microseconds, when forwarding is to begin; and again when it has not begun for LOOK_AFTER others.

Always true: a flow is forwarded only as long as what was decided about it holds, and no observer
wants its packets; no packet of it overtakes another; counts are complete after `settle`.

Must not know: rules, sockets, how packets are forwarded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from router.engine.direct.flow import DirectFlow
from router.engine.direct.sent import SentFlows
from router.flows.tally import Tally
from router.platform.base.flow_offload import FlowOffload, Forwarding
from router.wire import icmp, ip
from router.wire.headers import PORTS, V4_FRAGMENT
from router.wire.offload import (
    AT_V4_ADDRESSES,
    AT_V4_PROTOCOL,
    AT_V6_ADDRESSES,
    AT_V6_NEXT_HEADER,
    HEADER,
)

LOOK_AFTER: Final = 61
"""Packets. A prime, so that of flows that take turns it is not always the same that is met."""
MOST_MET: Final = 4096
"""Flows that have been met once and are remembered."""
IDLE: Final = 10.0
"""Seconds after which a flow of which nothing passes makes room for others."""
SLOW_FOR, SLOW_AGAIN_AFTER = 0.2, 2.0
"""Seconds for which senders of a flow are slowed down, and from one such time to the next."""
NO_OPTIONS: Final = 0x45
AT_V4_FRAGMENT: Final = HEADER + V4_FRAGMENT
V4_ADDRESSES: Final = slice(AT_V4_ADDRESSES, AT_V4_ADDRESSES + 8)
V6_ADDRESSES: Final = slice(AT_V6_ADDRESSES, AT_V6_ADDRESSES + 32)
LEAST: Final = 20
"""Bytes behind the IP header, as many as a segment of TCP has."""
WITH_PORTS: Final = (ip.TCP, ip.UDP)
QUERIES: Final = {(ip.ICMP, icmp.ECHO_REQUEST), (ip.ICMPV6, icmp.ECHO_REQUEST_V6)}

IsWanted = Callable[[bytearray, int], bool]


class Ends(NamedTuple):
    """What the packets of a flow have in common; see Forwarding."""

    protocol: int
    ends: bytes


class _Forwarded:
    """packets, size: what has been counted so far. since: when something has passed last, in
    seconds of the loop's clock. is_added: whether the system has the flow; left: how many packets
    it had left to the router at `note_left`. slow_from: when its senders may be slowed
    down next, in seconds of the loop's clock."""

    __slots__ = ("is_added", "left", "number", "packets", "since", "size", "slow_from", "tally")

    def __init__(self, number: int, tally: Tally, now: float) -> None:
        self.number = number
        self.tally = tally
        self.packets = self.size = self.left = 0
        self.slow_from = now
        self.is_added = False
        self.since = now


class ForwardedFlows:
    """offload: None where the system has no such thing. may_forward: whether packets may leave by
    an interface without being shown to the host's rules there; forwarding: told when there are
    flows, and when there are none again, so that this is followed. sent: told of what passes
    without a connection.

    waiting: the flows of which packets are left to the router until the TUN is empty.
    """

    def __init__(
        self,
        offload: FlowOffload | None,
        may_forward: Callable[[str], bool],
        forwarding: Callable[[bool], None],
        sent: SentFlows,
    ) -> None:
        self._offload = offload
        self._may_forward = may_forward
        self._forwarding = forwarding
        self._sent = sent
        self._flows: dict[Ends, _Forwarded] = {}
        self._by_number: dict[int, _Forwarded] = {}
        self.waiting: set[_Forwarded] = set()
        self._met: set[Ends] = set()
        self._is_wanted: IsWanted | None = None

    def look(self, flow: DirectFlow, frame: bytearray, size: int, now: float) -> None:
        """A packet of a flow in the first `size` bytes of the TUN's frame, after LOOK_AFTER
        others."""
        if self._offload is None or (self._is_wanted is not None and self._is_wanted(frame, size)):
            return
        ends = _ends(frame)
        if ends is None:
            return
        forwarded = self._flows.get(ends)
        if forwarded is not None:
            if forwarded in self.waiting and ends.protocol == ip.UDP:
                self._slow_down(forwarded, now)
            elif forwarded.is_added:
                self.waiting.add(forwarded)
        elif ends in self._met:
            self._begin(ends, flow, now)
        else:
            if len(self._met) >= MOST_MET:
                self._met.clear()
            self._met.add(ends)

    def note_left(self) -> None:
        """The TUN has been read to its end, and what was in it is sent."""
        if self._offload is not None:
            for each in self.waiting:
                each.left = self._offload.left(each.number)

    def nothing_left(self) -> None:
        """The TUN is still empty, so what was noted as left is sent as well."""
        if self._offload is not None:
            for each in self.waiting:
                self._offload.open(each.number, each.left)
        self.waiting.clear()

    def observe(self, is_wanted: IsWanted | None) -> None:
        """Packets are observed from now on, or are not any more. is_wanted: of a frame and its
        size, whether packets like that are wanted, which pass the router then."""
        self._is_wanted = is_wanted
        if is_wanted is not None:
            self._end([ends for ends in self._flows if is_wanted(*_frame_with(ends))])

    def forget(self) -> None:
        """Everything is decided again: all packets pass the router from now on."""
        self._met.clear()
        self._end(list(self._flows))

    def expire(self, now: float) -> None:
        """End those of which nothing passes any more. Call it about every second."""
        offload = self._offload
        if offload is None:
            return
        idle = []
        for ends, forwarded in self._flows.items():
            if _count(forwarded, offload):
                forwarded.since = now
                self._note_sent(ends, now)
            elif now - forwarded.since > IDLE:
                idle.append(ends)
        self._end(idle)

    def settle(self) -> None:
        """Count what has passed so far."""
        if self._offload is not None:
            for forwarded in self._flows.values():
                _count(forwarded, self._offload)

    def close(self) -> None:
        """With all counts."""
        self.forget()
        self._offload = None

    def _begin(self, ends: Ends, flow: DirectFlow, now: float) -> None:
        interface, frames = flow.sender.interface, flow.sender.frames
        if flow.outbound is None or frames is None or not self._may_forward(interface.name):
            return
        next_hop = frames.next_hop(flow.destination)
        if next_hop is None or self._offload is None:
            return
        part = Forwarding(*ends, interface.index, next_hop, flow.mtu)
        number = self._offload.begin([part], now, self._added)
        if number is not None:
            self._met.discard(ends)
            self._flows[ends] = self._by_number[number] = _Forwarded(number, flow.tally, now)
            if ends.protocol == ip.UDP:
                self._slow_down(self._flows[ends], now)
            if len(self._flows) == 1:
                self._forwarding(True)

    def _slow_down(self, forwarded: _Forwarded, now: float) -> None:
        if self._offload is not None and now >= forwarded.slow_from:
            self._offload.slow_down(forwarded.number, now + SLOW_FOR)
            forwarded.slow_from = now + SLOW_AGAIN_AFTER

    def _added(self, number: int) -> None:
        forwarded = self._by_number[number]
        forwarded.is_added = True
        self.waiting.add(forwarded)

    def _end(self, some: list[Ends]) -> None:
        if self._offload is None or not some:
            return
        ended = [self._flows.pop(ends) for ends in some]
        self._offload.end([each.number for each in ended])
        for each in ended:
            del self._by_number[each.number]
            _count(each, self._offload)
        self.waiting.difference_update(ended)
        if not self._flows:
            self._forwarding(False)

    def _note_sent(self, ends: Ends, now: float) -> None:
        """As router.engine.direct.sent has it."""
        if ends.protocol == ip.UDP:
            self._sent.note_key(ends.ends, now)
        elif ends.protocol != ip.TCP:
            self._sent.note_key(ends.ends[: 1 - PORTS] + ends.ends[2 - PORTS :], now)


def _count(forwarded: _Forwarded, offload: FlowOffload) -> bool:
    """Whether anything has passed."""
    out = offload.passed(forwarded.number)[0]
    packets, size = out.packets - forwarded.packets, out.size - forwarded.size
    forwarded.tally.packets_out += packets
    forwarded.tally.bytes_out += size
    forwarded.packets, forwarded.size = out.packets, out.size
    return packets > 0


def _frame_with(ends: Ends) -> tuple[bytearray, int]:
    """One like those that `_ends` has these of, and its size."""
    addresses, ports = ends.ends[:-PORTS], ends.ends[-PORTS:]
    if ends.protocol in WITH_PORTS:
        payload = ports + bytes(LEAST - PORTS)
    else:
        payload = ports[:2] + bytes(2) + ports[2:] + bytes(LEAST - PORTS - 2)
    packet = ip.bare(ends.protocol, addresses, payload)
    return bytearray(HEADER) + packet, HEADER + len(packet)


def _ends(frame: bytearray) -> Ends | None:
    """Those of the packet in a frame of the TUN; None where the system does not find them."""
    if frame[HEADER] >> 4 != 4:
        protocol, addresses = frame[AT_V6_NEXT_HEADER], V6_ADDRESSES
    elif frame[HEADER] != NO_OPTIONS or frame[AT_V4_FRAGMENT] & 0x3F or frame[AT_V4_FRAGMENT + 1]:
        return None
    else:
        protocol, addresses = frame[AT_V4_PROTOCOL], V4_ADDRESSES
    upper = addresses.stop
    ports = bytes(frame[upper : upper + PORTS])
    if protocol not in WITH_PORTS:
        if (protocol, ports[0]) not in QUERIES:
            return None
        ports = ports[:2] + bytes(frame[upper + PORTS : upper + PORTS + 2])
    return Ends(protocol, bytes(frame[addresses]) + ports)
