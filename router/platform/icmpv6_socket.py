"""A raw ICMPv6 socket with header fields for each message (RFC 3542, sections 4 and 6; ipv6(7)).

Always true: the source of a message is its caller's, so that the kernel's choice of another changes
none in mid-flow. A message that is longer than the path allows is cut only where the caller asks
for that.

Must not know: what the messages are about.
"""

from __future__ import annotations

import socket
import sys
from struct import Struct
from typing import Final, NamedTuple

USUAL_HOP_LIMIT: Final = 63
"""Of what is forwarded: systems begin with 64."""
MAX_MESSAGE: Final = 65535
ANCILLARY_SPACE: Final = socket.CMSG_SPACE(4) * 2
INT: Final = Struct("=i")
BY_ITS_INTERFACE: Final = bytes(4)
"""ipi6_ifindex of struct in6_pktinfo: that which the socket is bound to."""


class Received(NamedTuple):
    """One message. sender: 16 bytes."""

    message: bytes
    sender: bytes
    hop_limit: int
    traffic_class: int


class Icmpv6Socket:
    """`sock` is raw, non-blocking, bound to an interface, and reports hop limit and traffic class
    of what it receives."""

    def __init__(self, sock: socket.socket) -> None:
        """Raises OSError."""
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, USUAL_HOP_LIMIT)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, 1)
        self._sock = sock
        self.fileno = sock.fileno
        self.close = sock.close

    def send(
        self,
        message: bytes | bytearray,
        address: tuple[str, int],
        hop_limit: int,
        traffic_class: int = 0,
        *,
        source: bytes,
        fragment: bool = False,
    ) -> None:
        """Send a message, its checksum filled in by the kernel. Raises OSError.

        source: 16 bytes; where they are unspecified, the kernel chooses.
        """
        ancillary = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, source + BY_ITS_INTERFACE)]
        if hop_limit != USUAL_HOP_LIMIT or traffic_class or fragment:
            ancillary += [
                (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, INT.pack(hop_limit)),
                (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, INT.pack(traffic_class)),
                (socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, INT.pack(not fragment)),
            ]
        self._sock.sendmsg([message], ancillary, 0, address)

    def receive(self) -> Received:
        """The next message. Raises BlockingIOError when there is none, and OSError."""
        message, ancillary, _, sender = self._sock.recvmsg(MAX_MESSAGE, ANCILLARY_SPACE)
        hop_limit = traffic_class = 0
        for _, kind, value in ancillary:
            if kind == socket.IPV6_HOPLIMIT:
                hop_limit = int.from_bytes(value, sys.byteorder)
            elif kind == socket.IPV6_TCLASS:
                traffic_class = int.from_bytes(value, sys.byteorder)
        address = socket.inet_pton(socket.AF_INET6, sender[0].partition("%")[0])
        return Received(message, address, hop_limit, traffic_class)
