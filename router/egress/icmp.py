"""Echo requests out by one interface, and what comes back for them.

One socket for each way out and family, whoever pings. For IPv4 the socket takes whole packets, so
TTL, TOS, DF and options leave as they came. For IPv6 it takes messages: the hop limit is the
socket's own as long as it is the usual one, and goes with the message when it is not.
"""

from __future__ import annotations

import socket
import sys
from struct import pack
from typing import Any, Final, Protocol

from router.flows.addresses import UNSPECIFIED_V6
from router.flows.echo import Binding
from router.flows.translate import request_v4, request_v6
from router.wire import ip

MAX_PACKET: Final = 65535
ANCILLARY_SPACE: Final = socket.CMSG_SPACE(4) * 2
USUAL_HOP_LIMIT: Final = 63
"""What is left of the 64 that systems begin with, after our hop."""


class IcmpEgress(Protocol):
    """A raw socket bound to an interface."""

    version: int

    def fileno(self) -> int: ...

    def send(self, request: ip.Packet, binding: Binding[Any]) -> None:
        """Send an echo request under the binding's outside identifier. Raises OSError."""
        ...

    def receive(self) -> ip.Packet:
        """The next packet that the filter passed. Raises BlockingIOError when there is none,
        OSError, and ip.Malformed. An IPv6 packet is addressed to `::`."""
        ...

    def close(self) -> None: ...


class IcmpV4Egress:
    """See IcmpEgress."""

    version = 4

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.close = sock.close
        self.fileno = sock.fileno

    def send(self, request: ip.Packet, binding: Binding[Any]) -> None:
        packet = request_v4(request, binding.inside_id, binding.outside_id)
        self._socket.sendto(packet, binding.address)

    def receive(self) -> ip.Packet:
        return ip.parse(self._socket.recv(MAX_PACKET))


class IcmpV6Egress:
    """See IcmpEgress."""

    version = 6

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.close = sock.close
        self.fileno = sock.fileno
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, USUAL_HOP_LIMIT)

    def send(self, request: ip.Packet, binding: Binding[Any]) -> None:
        message = request_v6(request, binding.outside_id)
        hop_limit = request.hop_limit - 1
        traffic_class = request.traffic_class
        if hop_limit == USUAL_HOP_LIMIT and not traffic_class:
            self._socket.sendto(message, binding.address)
            return
        ancillary = [
            (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, pack("=i", hop_limit)),
            (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, pack("=i", traffic_class)),
        ]
        self._socket.sendmsg([message], ancillary, 0, binding.address)

    def receive(self) -> ip.Packet:
        body, ancillary, _, sender = self._socket.recvmsg(MAX_PACKET, ANCILLARY_SPACE)
        hop_limit = traffic_class = 0
        for _, kind, value in ancillary:
            if kind == socket.IPV6_HOPLIMIT:
                hop_limit = int.from_bytes(value, sys.byteorder)
            elif kind == socket.IPV6_TCLASS:
                traffic_class = int.from_bytes(value, sys.byteorder)
        return ip.parse(
            ip.build(
                socket.inet_pton(socket.AF_INET6, sender[0].partition("%")[0]),
                UNSPECIFIED_V6,
                ip.ICMPV6,
                body,
                hop_limit=hop_limit,
                traffic_class=traffic_class,
            )
        )
