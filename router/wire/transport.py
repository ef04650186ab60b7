"""What TCP and UDP have in common: where the ports are."""

from __future__ import annotations

from router.wire import ip


def destination_port(packet: ip.Packet) -> int:
    """The destination port; 0 where the packet has none to see: another protocol, a fragment
    that is not the first, or a header that is cut off."""
    data, start = packet.data, packet.payload
    if packet.protocol not in (ip.TCP, ip.UDP) or packet.fragment_offset or len(data) < start + 4:
        return 0
    return data[start + 2] << 8 | data[start + 3]
