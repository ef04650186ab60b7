"""What was decided about packets from one address to another: how they leave directly.

Must not know: rules, how a packet is sent.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Hashable
from typing import Final, Protocol

from router.flows.tally import Tally
from router.outbound.base import Outbound
from router.outbound.direct import DirectSender, Send
from router.platform.base.descriptors import Bytes
from router.wire import ip
from router.wire.headers import HOP_LIMIT
from router.wire.offload import AT_V4_ADDRESSES, AT_V6_ADDRESSES

SAMPLE_INTERVAL: Final = 0.1
"""Seconds."""
MOST_CONNECTIONS: Final = 4096
"""Of one pair of addresses that are remembered."""


class DirectFlow:
    """tally: counts what leaves. destination: 4 or 16 bytes. outbound: None where packets follow no
    rule. hops: how many the router takes off the hop limit. look: when the next query is to be
    noted, in seconds of the loop's clock.

    much: how many packets there were since one was looked at (router.engine.direct.forwarded), of
    queries those that were noted. alone: datagrams that have left by themselves since then, and
    since some have left in one frame.

    samples: by the ports of a connection, when its next packet is to leave by the raw socket, in
    seconds of the loop's clock. refused: the connections of which the host's firewall has refused a
    packet since the last sample.
    """

    __slots__ = (
        "address",
        "alone",
        "destination",
        "hops",
        "look",
        "mtu",
        "much",
        "outbound",
        "refused",
        "samples",
        "send",
        "sender",
        "tally",
    )

    def __init__(
        self,
        sender: DirectSender,
        destination: bytes,
        outbound: Outbound | None,
        tally: Tally,
        hops: int = 1,
    ) -> None:
        self.hops = hops
        self.sender = sender
        self.send: Send = sender.send
        self.mtu = sender.interface.mtu
        self.destination = destination
        self.address = (ip.format_address(destination), 0)
        self.outbound = outbound
        self.tally = tally
        self.look = 0.0
        self.much = self.alone = 0
        self.samples: dict[bytes, float] = {}
        self.refused: set[bytes] = set()

    def connect(self) -> Callable[[Bytes], int] | None:
        """See DirectSender.connect."""
        return self.sender.connect(self.address)

    def as_sent(self, packet: ip.Packet) -> bytearray:
        """The bytes that leave; the kernel computes the IPv4 checksum."""
        data = bytearray(packet.data)
        data[HOP_LIMIT[packet.version]] -= self.hops
        return data

    def path_mtu(self, version: int) -> int:
        """In bytes, as far as the system knows it."""
        if self.outbound is None:
            return self.mtu
        return min(self.outbound.path(version, self.address[0]).mtu, self.mtu)

    def sample(self, ports: bytes, now: float) -> bool:
        """Whether what comes next between these ports is to be judged by the host's firewall."""
        if self.samples.get(ports, now) > now:
            return False
        if len(self.samples) >= MOST_CONNECTIONS:
            self.samples.clear()
            self.refused.clear()
        self.samples[ports] = now + SAMPLE_INTERVAL
        self.refused.discard(ports)
        return True

    def note_refused(self, ports: bytes) -> None:
        """The host's firewall has refused a packet between these ports."""
        if len(self.refused) >= MOST_CONNECTIONS:
            self.refused.pop()
        self.refused.add(ports)

    def note_unjudged(self, error: OSError) -> None:
        """A raw socket has failed: unless the host's firewall has refused the packet, it has not
        come as far, and what comes next is to be judged."""
        if error.errno != errno.EPERM:
            self.samples.clear()


class HasEnds(Protocol):
    """A packet, or its fields. source, destination: 4 or 16 bytes."""

    @property
    def version(self) -> int: ...

    @property
    def source(self) -> bytes: ...

    @property
    def destination(self) -> bytes: ...


def pair_of(packet: HasEnds) -> Hashable:
    """Source and destination as one key: for IPv4 a number, which is found quickest, else bytes."""
    pair = packet.source + packet.destination
    return int.from_bytes(pair, sys.byteorder) if packet.version == 4 else pair


def pairs_in(frame: bytearray) -> tuple[memoryview, memoryview]:
    """Where the pair of a packet stands in a frame of the TUN, if it is IPv4: the number; if it is
    IPv6: the bytes."""
    view = memoryview(frame)
    v4 = view[AT_V4_ADDRESSES : AT_V4_ADDRESSES + 8].cast("Q")
    return v4, view[AT_V6_ADDRESSES : AT_V6_ADDRESSES + 32]
