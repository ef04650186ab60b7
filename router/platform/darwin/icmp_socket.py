"""Raw ICMP sockets of an outbound: bound to its interface, with buffers.

IP_BOUND_IF chooses the interface of what is sent; xnu delivers what has arrived by any, and
everything but echo requests to this machine: `raw_icmp` passes over what is for others.
"""

from __future__ import annotations

import socket
from typing import Final, Protocol

from router.platform.darwin.constants import (
    ICMP6_FILTER,
    IP_BOUND_IF,
    IP_HDRINCL,
    IP_PKTINFO,
    IPV6_BOUND_IF,
    IPV6_RECVHOPLIMIT,
    IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS,
)
from router.platform.darwin.icmp6_filter import passing
from router.wire import icmp

BUFFER: Final = 1 << 20
"""Bytes; 8192 by default, for one datagram and for the queue (netinet/raw_ip.c)."""
PASSED_V6: Final = (
    icmp.UNREACHABLE_V6,
    icmp.PACKET_TOO_BIG_V6,
    icmp.TIME_EXCEEDED_V6,
    icmp.PARAMETER_PROBLEM_V6,
    *icmp.REQUEST_OF[6],
)


class OptionSocket(Protocol):
    def setsockopt(self, level: int, option: int, value: int | bytes, /) -> None:
        """Raises OSError."""
        ...

    def setblocking(self, flag: bool, /) -> None: ...


def configure(sock: OptionSocket, version: int, interface: int) -> None:
    """Give a raw ICMP socket the options of Sockets.icmp_socket. interface: its index. Raises
    OSError."""
    sock.setblocking(False)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
    if version == 4:
        sock.setsockopt(socket.IPPROTO_IP, IP_BOUND_IF, interface)
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        sock.setsockopt(socket.IPPROTO_IP, IP_HDRINCL, 1)
        return
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_BOUND_IF, interface)
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVTCLASS, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
    sock.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, passing(PASSED_V6))


def icmp_socket(version: int, interface: int) -> socket.socket:
    """A raw ICMP socket, configured. interface: its index. Raises OSError: root alone may."""
    if version == 4:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    else:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    try:
        configure(sock, version, interface)
    except OSError:
        sock.close()
        raise
    return sock
