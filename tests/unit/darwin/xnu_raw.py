"""What a raw IPv4 socket of xnu does to packets, done to packets as on the wire.

Written from the kernel's steps, not as the inverse of the code under test: ip_input
(netinet/ip_input.c:1152, 1165), icmp_input (netinet/ip_icmp.c:523-597), rip_output
(netinet/raw_ip.c:563-572).
"""

from __future__ import annotations

import errno
import socket
from typing import Any

from tests.unit.darwin.fake_kernel import refuse
from tests.unit.darwin.xnu_sockets import as_of_xnu

PKTINFO_V6 = (41, 50)


def delivered(packet: bytes) -> bytes:
    """A packet that has arrived, as a program receives it."""
    header = packet[0] % 16 * 4
    length = int.from_bytes(packet[2:4], "big") - header
    fragment = int.from_bytes(packet[6:8], "big")
    head = packet[:2] + length.to_bytes(2, "little") + packet[4:6]
    head += fragment.to_bytes(2, "little") + packet[8:header]
    body = packet[header:]
    if has_meaning(body[0], body[1]):
        quoted = int.from_bytes(body[10:12], "big")
        body = body[:10] + quoted.to_bytes(2, "little") + body[12:]
    return head + body


def has_meaning(kind: int, code: int) -> bool:
    """Whether icmp_input comes to `deliver`."""
    match kind:
        case 3:
            return code <= 15
        case 4:
            return code == 0
        case 11 | 12:
            return code <= 1
    return False


def sent(packet: bytes) -> bytes:
    """A packet that a program sends with IP_HDRINCL, as on the wire. Raises OSError."""
    header = packet[0] % 16 * 4
    length = int.from_bytes(packet[2:4], "little")
    if len(packet) < 20 or length > len(packet) or length < header:
        raise refuse(errno.EINVAL)
    fragment = int.from_bytes(packet[6:8], "little")
    head = packet[:2] + length.to_bytes(2, "big") + packet[4:6]
    return head + fragment.to_bytes(2, "big") + packet[8:]


class XnuRawSocket(socket.socket):
    """A raw IPv4 socket of Linux that behaves as one of xnu."""

    def sendto(self, packet: Any, *address: Any) -> int:
        return super().sendto(sent(bytes(packet)), *address)

    def recvmsg(self, size: int, ancillary_size: int = 0, flags: int = 0) -> Any:
        packet, ancillary, found, sender = super().recvmsg(size, ancillary_size, flags)
        return delivered(packet), [as_of_xnu(*each) for each in ancillary], found, sender


class XnuRawSocketV6(socket.socket):
    """The same of ICMPv6. The control messages that Python has a name for on both systems keep the
    numbers of Linux (router.platform.icmpv6_socket)."""

    def recvmsg(self, size: int, ancillary_size: int = 0, flags: int = 0) -> Any:
        message, ancillary, found, sender = super().recvmsg(size, ancillary_size, flags)
        renumbered = [as_of_xnu(*each) if each[:2] == PKTINFO_V6 else each for each in ancillary]
        return message, renumbered, found, sender
