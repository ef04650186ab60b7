"""What was decided about packets from one address to another: how they leave directly.

Must not know: rules, how a packet is sent.
"""

from __future__ import annotations

from collections.abc import Hashable
from struct import Struct
from typing import Final

from router.flows.tally import Tally
from router.outbound.base import Outbound
from router.outbound.direct import DirectSender
from router.wire import ip

V4_PAIR: Final = Struct("=Q")
V6_PAIR: Final = Struct("=4Q")


class DirectFlow:
    """tally: counts what leaves. destination: 4 or 16 bytes.

    samples: by the ports of a connection, when its next frame is cut and sent by the raw socket, in
    seconds of the loop's clock. refused: the connections whose last sample the host's firewall has
    refused.
    """

    __slots__ = (
        "address",
        "destination",
        "mtu",
        "outbound",
        "refused",
        "samples",
        "send",
        "sender",
        "tally",
    )

    def __init__(
        self, sender: DirectSender, destination: bytes, outbound: Outbound, tally: Tally
    ) -> None:
        self.sender = sender
        self.send = sender.send
        self.mtu = sender.interface.mtu
        self.destination = destination
        self.address = (ip.format_address(destination), 0)
        self.outbound = outbound
        self.tally = tally
        self.samples: dict[bytes, float] = {}
        self.refused: set[bytes] = set()


def pair_of(packet: ip.Packet) -> Hashable:
    """Source and destination, as one key."""
    pair = V4_PAIR if packet.version == 4 else V6_PAIR
    return pair.unpack(packet.source + packet.destination)
