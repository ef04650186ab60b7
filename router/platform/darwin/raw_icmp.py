"""What xnu changes in the packets of a raw IPv4 socket, undone.

Received: the total length is in host order and lacks the header, the fragment field is in host
order (netinet/ip_input.c:1152, 1165, 1580); of an error that the kernel has a meaning for, the
total length of the quoted header is in host order too (netinet/ip_icmp.c:523-597). Sent with
IP_HDRINCL: the kernel expects total length and fragment field in host order, else EINVAL
(netinet/raw_ip.c:563-572).

All Macs are little-endian. Where a packet is too short for a field, it is left as it is.
"""

from __future__ import annotations

import errno
import socket
from struct import Struct
from typing import Any, Final

from router.platform.darwin.arrival import SPACE, interface_of
from router.platform.darwin.echo_ids import is_of_others
from router.wire import icmp
from router.wire.headers import ICMP_HEADER, V4_FRAGMENT, V4_TOTAL_LENGTH

LITTLE: Final = Struct("<H")
BIG: Final = Struct("!H")
V4_HEADER: Final = 20
MOST: Final = 64
"""Packets of other interfaces and programs that are passed over at a time."""
NONE_OF_OURS: Final = "what has arrived is for others"
SOURCE_QUENCH: Final = 4
SWAPPED_CODES: Final = {
    icmp.UNREACHABLE: range(16),
    SOURCE_QUENCH: range(1),
    icmp.TIME_EXCEEDED: range(2),
    icmp.PARAMETER_PROBLEM: range(2),
}
"""By type: the codes of errors in whose quote the kernel swaps the length."""


def as_on_the_wire(packet: bytes) -> bytes:
    """A received ICMP packet, header included."""
    if len(packet) < V4_HEADER:
        return packet
    changed = bytearray(packet)
    header = (packet[0] & 0x0F) * 4
    (length,) = LITTLE.unpack_from(packet, V4_TOTAL_LENGTH)
    BIG.pack_into(changed, V4_TOTAL_LENGTH, (length + header) & 0xFFFF)
    _swap(changed, V4_FRAGMENT)
    if _has_swapped_quote(packet, header):
        _swap(changed, header + ICMP_HEADER + V4_TOTAL_LENGTH)
    return bytes(changed)


def as_to_be_sent(packet: bytes | bytearray) -> bytearray:
    """A packet for a socket with IP_HDRINCL."""
    changed = bytearray(packet)
    if len(packet) >= V4_HEADER:
        _swap(changed, V4_TOTAL_LENGTH)
        _swap(changed, V4_FRAGMENT)
    return changed


class RawIcmpSocket(socket.socket):
    """A raw ICMP socket of IPv4 as `icmp_socket` opens it, whose packets are as on the wire.

    interface: the index of the one that it is bound to, which holds for what it sends alone: the
    kernel delivers what has arrived by any. echo_ids: of the queries whose answers it is for.
    """

    interface = 0
    echo_ids = range(1 << 16)

    def sendto(self, packet: Any, *address: Any) -> int:
        return super().sendto(as_to_be_sent(packet), *address)

    def recv(self, size: int, flags: int = 0) -> bytes:
        """The next packet that is for it, of a bounded number."""
        for _ in range(MOST):
            packet, ancillary, _, _ = super().recvmsg(size, SPACE[4], flags)
            if interface_of(ancillary) != self.interface:
                continue
            packet = as_on_the_wire(packet)
            message = packet[(packet[0] & 0x0F) * 4 :] if packet else b""
            if not is_of_others(4, message, self.echo_ids):
                return packet
        raise BlockingIOError(errno.EAGAIN, NONE_OF_OURS)


class RawIcmpv6Socket(socket.socket):
    """A raw ICMPv6 socket, as the other."""

    interface = 0
    echo_ids = range(1 << 16)

    def recvmsg(self, size: int, ancillary_size: int = 0, flags: int = 0) -> Any:
        """The next message that is for it, of a bounded number; with a control message more."""
        for _ in range(MOST):
            received = super().recvmsg(size, ancillary_size + SPACE[6], flags)
            is_ours = interface_of(received[1]) == self.interface
            if is_ours and not is_of_others(6, received[0], self.echo_ids):
                return received
        raise BlockingIOError(errno.EAGAIN, NONE_OF_OURS)


def _has_swapped_quote(packet: bytes, header: int) -> bool:
    if len(packet) < header + ICMP_HEADER + V4_HEADER:
        return False
    return packet[header + 1] in SWAPPED_CODES.get(packet[header], ())


def _swap(packet: bytearray, at: int) -> None:
    packet[at : at + 2] = packet[at + 1], packet[at]
