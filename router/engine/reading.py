"""A turn of the loop: what the TUN and the query channels have received goes to the forwarder.

Always true: a turn reads a bounded number of packets, so that other descriptors have theirs; a
frame of a known flow goes on as it is, without the rules, and only what is left over becomes a
packet, and that only if its source is not held off (router.flows.policer). What happens to a
packet is decided by the forwarder.
"""

from __future__ import annotations

from typing import Final

from router.engine.forwarder import Forwarder
from router.flows.drops import Drop
from router.outbound.base import QueryChannel
from router.platform.base.tun import TunDevice
from router.wire import ip, offload
from router.wire.offload import (
    AT_V4_ADDRESSES,
    AT_V4_PROTOCOL,
    AT_V6_ADDRESSES,
    AT_V6_NEXT_HEADER,
)

AT_V4_SOURCE: Final = AT_V4_ADDRESSES
AT_V6_SOURCE: Final = AT_V6_ADDRESSES


def receive_all(forwarder: Forwarder, channel: QueryChannel, budget: int, now: float) -> None:
    """Deliver what a channel has received, `budget` packets at most."""
    for _ in range(budget):
        try:
            packet = channel.receive()
        except BlockingIOError:
            return
        except ip.Malformed:
            forwarder.drops.count(Drop.MALFORMED)
        except OSError:
            return  # the interface has just gone, which is reported as its change
        else:
            forwarder.from_outside(channel, packet, now)


def read_all(forwarder: Forwarder, tun: TunDevice, budget: int, now: float) -> None:
    """Forward what the TUN has, `budget` packets at most. Raises OSError when the TUN is gone.

    After the first packet, the channel that it left by is read once: a host on the same machine or
    switch has answered by then, which saves the answer a round of polling. Elsewhere the attempt
    costs a microsecond a round.
    """
    direct, streams, datagrams, from_tun, receive, frame = (
        forwarder.direct,
        forwarder.carriers.streams,
        forwarder.carriers.datagrams,
        forwarder.from_tun,
        tun.receive,
        tun.frame,
    )
    policer, held_off = forwarder.policer, forwarder.policer.held_off
    packet = memoryview(frame)[offload.HEADER :]
    try:
        for number in range(budget):
            try:
                size = receive()
            except BlockingIOError:
                policer.emptied()
                streams.found_empty()
                return
            if direct.carry(size, now):
                continue
            four, six = frame[AT_V4_PROTOCOL], frame[AT_V6_NEXT_HEADER]
            may_be_udp = ip.UDP in (four, six)
            if may_be_udp and datagrams.carry_frame(frame, size, now):
                continue
            may_be_tcp = ip.TCP in (four, six)
            if may_be_tcp and streams.carry(size, now):
                continue
            if held_off and policer.is_held_off(_source(frame), now):
                forwarder.drops.count(Drop.HELD_OFF)
                continue
            if frame[0] or frame[1]:
                for one in offload.packets(frame, size):
                    from_tun(one, now)
                continue
            channel = from_tun(packet[: size - offload.HEADER].tobytes(), now)
            if channel is not None and number == 0:
                receive_all(forwarder, channel, 1, now)
        policer.not_emptied(now)
    finally:
        direct.flush(now)
        datagrams.flush(now)


def _source(frame: bytearray) -> bytes:
    """The source of the packet of a frame, as router.flows.shares has it."""
    at = AT_V4_SOURCE if frame[offload.HEADER] >> 4 == 4 else AT_V6_SOURCE
    return bytes(frame[at : at + (4 if at == AT_V4_SOURCE else 8)])
