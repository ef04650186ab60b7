"""What TCP and UDP have in common: where the ports are."""

from __future__ import annotations

from router.wire import ip
from router.wire.headers import DESTINATION_PORT, PORTS


def source_port(packet: ip.Packet) -> int:
    """The source port; the packet is TCP or UDP, unfragmented, and has its whole header."""
    return int.from_bytes(packet.data[packet.payload : packet.payload + 2])


def destination_port(packet: ip.Packet) -> int:
    """The destination port; 0 where the packet has none to see: another protocol, a fragment
    that is not the first, or a header that is cut off."""
    data, start = packet.data, packet.payload
    if packet.protocol not in (ip.TCP, ip.UDP) or packet.fragment_offset:
        return 0
    if len(data) < start + PORTS:
        return 0
    start += DESTINATION_PORT
    return data[start] << 8 | data[start + 1]
