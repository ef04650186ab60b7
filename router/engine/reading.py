"""A turn of the loop: what the TUN and the query channels have received goes to the forwarder.

Always true: a turn reads a bounded number of packets, so that other descriptors have theirs; a
frame of a known flow goes on as it is, without the rules, and only what is left over becomes a
packet, and that only if its source is not held off (router.flows.policer). What happens to a
packet is decided by the forwarder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from router.engine.direct.path import CarryOther
from router.engine.forwarder import Forwarder
from router.flows.drops import Drop
from router.outbound.base import QueryChannel
from router.platform.base.tun import TunDevice, TunQueue
from router.wire import ip, offload
from router.wire.headers import PORTS
from router.wire.offload import (
    AT_V4_ADDRESSES,
    AT_V4_PROTOCOL,
    AT_V6_ADDRESSES,
    AT_V6_NEXT_HEADER,
)

UDP, TCP, HEADER = ip.UDP, ip.TCP, offload.HEADER
COST: Final = 8
"""Of a packet, where one that is dropped unread costs 1: a flood of those is to be read as fast as
it comes, or the packets of others wait behind it in a full queue."""
SHORT_TURNS: Final = 7
AT_ONCE: Final = 16
"""Packets that are read at most when it is seen whether the queue is still empty."""
NEVER: Final = float("-inf")
V4_SOURCE: Final = slice(AT_V4_ADDRESSES, AT_V4_ADDRESSES + 4)
V6_NETWORK: Final = slice(AT_V6_ADDRESSES, AT_V6_ADDRESSES + 8)
"""What router.flows.shares takes for a host."""
V4_KEY: Final = slice(AT_V4_ADDRESSES, AT_V4_ADDRESSES + 8 + PORTS)
V6_KEY: Final = slice(AT_V6_ADDRESSES, AT_V6_ADDRESSES + 32 + PORTS)
"""Addresses and ports, where there are neither options nor extension headers."""


def receive_all(forwarder: Forwarder, channel: QueryChannel, budget: int, now: float) -> None:
    """Deliver what a channel has received, `budget` packets at most."""
    observer = forwarder.observer
    if observer is not None:
        observer.settle(now)
    for _ in range(budget):
        try:
            packet = channel.receive()
        except ip.Malformed:
            forwarder.drops.count(Drop.MALFORMED)
        except OSError:
            break  # there is none, or the interface has just gone, which is reported as its change
        else:
            if packet is None:
                continue
            if observer is not None:
                observer.from_outside(packet.data)
            forwarder.from_outside(channel, packet, now)
    if observer is not None:
        observer.settle(now)


class TunReader:
    """Reads the queues of a TUN for a forwarder: `turn` that of this machine, `turn_forwarded` that
    of what the system forwards for others, each in the rounds of the loop in which it is readable.

    To find the queue empty costs as much as to send a packet: Python makes an exception of it. So
    of what leaves directly, a *short* turn reads as many packets as there were when the queue was
    last read to its end, and the next wait shows whether there are more. After SHORT_TURNS of them
    follows a whole one, so that a queue that grows does not grow unnoticed; and where anything else
    came, all are whole. For the same reason a queue that is not readable is taken for empty unread.

    short: how many turns may be short from now on.
    """

    def __init__(self, forwarder: Forwarder, tun: TunDevice) -> None:
        self.short = 0
        self._found = 1
        self._own_read_at = NEVER
        self._forwarded_is_empty = True
        self._forwarder = forwarder
        self._path = forwarder.direct.path
        self._receive = tun.receive
        self._policer = forwarder.policer
        self._found_empty = forwarder.carriers.streams.found_empty
        self._to_be_forwarded = self._path.forwarded
        self._read_own = _queue_reader(forwarder, tun, tun.frame)
        self._read_forwarded = (
            None if tun.forwarded is None else _queue_reader(forwarder, tun.forwarded, tun.frame)
        )

    def turn(self, budget: int, now: float) -> None:
        """Forward what programs of this machine have sent, `budget` packets at most, and the rest
        of a frame that becomes several; of those that are dropped unread, COST times as many.
        Raises OSError when the TUN is gone."""
        self._own_read_at = now
        size = 0
        if self.short:
            self.short -= 1
            size = self._short_turn(now)
            if not size:
                return
        is_empty = self._read_own(budget, now, size)
        path = self._path
        self._found = path.carried or 1
        self.short = SHORT_TURNS if path.carried and not path.others else 0
        self._ended(is_empty, now)

    def turn_forwarded(self, budget: int, now: float, *, own_is_readable: bool) -> None:
        """The same for what the system has forwarded, after what is in the other queue.

        own_is_readable: whether that has been reported in this round of the loop; else it was empty
        when the round began. What our kernel has answered since then is read in the next round
        before anything that is forwarded, so the TUN counts as read to its end.
        """
        assert self._read_forwarded is not None
        is_empty = True
        if own_is_readable and self._own_read_at != now:
            self._own_read_at = now
            is_empty = self._read_own(budget, now, 0)
        self._forwarded_is_empty = self._read_forwarded(budget, now, 0)
        self._ended(is_empty, now)

    def _short_turn(self, now: float) -> int:
        """The size of a frame that does not leave directly, and has been read; 0 if there was
        none."""
        path, observer = self._path, self._forwarder.observer
        is_empty = False
        try:
            carry_all = path.carry_all if observer is None else observer.carry_all
            size = carry_all(self._receive, self._found, now)
        except BlockingIOError:
            size = 0
            is_empty = True
            self._found = path.carried or 1
        path.flush(now)
        if observer is not None and not size:
            observer.settle(now)
        if is_empty:
            self._ended(True, now)
        return size

    def _ended(self, is_empty: bool, now: float) -> None:
        """A turn is over. is_empty: whether the queue of this machine has been read to its end."""
        if is_empty and self._to_be_forwarded.waiting:
            is_empty = self._hand_over(now)
        if is_empty and self._forwarded_is_empty:
            self._policer.emptied()
            self._found_empty()
        else:
            self._policer.not_emptied(now)

    def _hand_over(self, now: float) -> bool:
        """Have flows forwarded from now on, if nothing more is in the queue of this machine;
        whether it has been read to its end again."""
        self._to_be_forwarded.note_left()
        is_empty = self._read_own(AT_ONCE, now, 0)
        if is_empty and not self._path.carried:
            self._to_be_forwarded.nothing_left()
        return is_empty


def _queue_reader(
    forwarder: Forwarder, queue: TunQueue, frame: bytearray
) -> Callable[[int, float, int], bool]:
    """Reads a queue, as many packets as the budget has, at a time; whether it has been read to its
    end. Its last argument is the size of a frame that has been read already, 0 of none. Raises
    OSError. What stays the same is looked up here, as most turns have one packet.

    After the first packet, if it does not leave directly, the channel that it left by is read once:
    a host on the same machine or switch has answered by then, which saves the answer a round of
    polling. Elsewhere the attempt costs a microsecond a round.
    """
    path, datagrams = forwarder.direct.path, forwarder.carriers.datagrams
    carry_all, flush_direct, runs = path.carry_all, path.flush, path.runs
    carry_datagram, flush_datagrams = datagrams.carry_frame, datagrams.flush
    carry_segment = forwarder.carriers.streams.carry
    carry_query = forwarder.carriers.queries.carry_frame
    from_tun, receive_frame = forwarder.from_tun, queue.receive
    held_off = forwarder.policer.held_off
    packet = memoryview(frame)[HEADER:]
    unread = 0

    def read(budget: int, now: float, size: int) -> bool:
        observer = forwarder.observer
        receive = _beginning_with(size, receive_frame) if size else receive_frame
        try:
            if observer is None:
                carry_all(receive, budget, now, carry_other)
            else:
                observer.carry_all(receive, budget, now, carry_observed)
        except BlockingIOError:
            is_empty = True
        else:
            is_empty = False
        finally:
            if runs:
                flush_direct(now)
            flush_datagrams(now)
            if observer is not None:
                observer.settle(now)
        return is_empty

    def carry_other(size: int, now: float, is_first: bool) -> int:
        """See router.engine.direct.path."""
        if held_off and _is_held_off(forwarder, frame, now):
            forwarder.drops.count(Drop.HELD_OFF)
            nonlocal unread
            unread = (unread + 1) % COST
            return 1 if unread else 0
        is_v4 = frame[HEADER] >> 4 == 4
        protocol = frame[AT_V4_PROTOCOL if is_v4 else AT_V6_NEXT_HEADER]
        channel = None
        if protocol == TCP:
            if carry_segment(size, now):
                return 0
        elif protocol == UDP:
            if carry_datagram(frame, size, now):
                return 0
        else:
            channel = carry_query(frame, size, now)
        if channel is None:
            if frame[0] or frame[1]:
                return _carry_unfinished(forwarder, frame, size, now)
            channel = from_tun(packet[: size - HEADER].tobytes(), now)
        if channel is not None and is_first:
            receive_all(forwarder, channel, 1, now)
        return 0

    carry_observed = _observed(forwarder, frame, carry_other)
    return read


def _carry_unfinished(forwarder: Forwarder, frame: bytearray, size: int, now: float) -> int:
    """Finish a frame of which the system has left something undone, and forward what it stands for;
    see router.engine.direct.path.CarryOther."""
    saved = 1
    for one in offload.packets(frame, size):
        saved -= 1
        forwarder.from_tun(one, now)
    return saved


def _observed(forwarder: Forwarder, frame: bytearray, carry_other: CarryOther) -> CarryOther:
    """Carries what a trace may want, or is not known not to; see router.engine.direct.path."""
    carry_all, known = forwarder.direct.path.carry_all, forwarder.direct.path.known

    def carry(size: int, now: float, is_first: bool) -> int:
        observer = forwarder.observer
        assert observer is not None
        is_wanted = observer.from_tun(frame, size)
        if known(frame, size) is None or carry_all(lambda: size, 1, now):
            return carry_other(size, now, is_first)
        if not is_wanted:
            observer.left_directly(frame, size)
        return 0

    return carry


def _beginning_with(size: int, receive: Callable[[], int]) -> Callable[[], int]:
    """Read frames of which the first, of that size, has been read already."""

    def receive_next() -> int:
        nonlocal size
        if size:
            first, size = size, 0
            return first
        return receive()

    return receive_next


def _is_held_off(forwarder: Forwarder, frame: bytearray, now: float) -> bool:
    """Whether the packet of a frame is of a source that is held off, and of no flow, as far as its
    first bytes show."""
    is_v4 = frame[HEADER] >> 4 == 4
    source = frame[V4_SOURCE if is_v4 else V6_NETWORK]
    if not forwarder.policer.is_held_off(bytes(source), now):
        return False
    key = bytes(frame[V4_KEY if is_v4 else V6_KEY])
    carriers = forwarder.carriers
    match frame[AT_V4_PROTOCOL if is_v4 else AT_V6_NEXT_HEADER]:
        case ip.TCP:
            return not carriers.streams.knows(key)
        case ip.UDP:
            return not carriers.datagrams.knows(key)
        case ip.ICMP | ip.ICMPV6:
            at = V4_KEY.stop if is_v4 else V6_KEY.stop
            key = key[: 1 - PORTS] + bytes(frame[at : at + 2])
            return not carriers.queries.knows(4 if is_v4 else 6, key)
        case _:
            return True
