"""A raw ICMPv6 socket with header fields for each message (RFC 3542, sections 4 and 6; ipv6(7)).

Always true: a message of the usual fields costs a plain sendto(2); others are sent with ancillary
data. A message that is longer than the path allows is cut only where the caller asks for that.

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
        fragment: bool = False,
    ) -> None:
        """Send a message, its checksum filled in by the kernel. Raises OSError."""
        if hop_limit == USUAL_HOP_LIMIT and not traffic_class and not fragment:
            self._sock.sendto(message, address)
            return
        ancillary = [
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
