"""ICMP queries out by one interface, and what comes back for them.

One socket for each way out and family, whoever asks. For IPv4 the socket takes whole packets, so
TTL, TOS, DF and options leave as they came, and what is too long is cut here. For IPv6 it takes
messages: the hop limit is the socket's own as long as it is the usual one, and goes with the
message when it is not; the kernel cuts what came in fragments, and nothing else.
"""

from __future__ import annotations

import errno
import secrets
import socket
import sys
from collections.abc import Callable
from struct import pack
from typing import Any, Final, Protocol

from router.flows.addresses import UNSPECIFIED_V6
from router.flows.queries import Binding
from router.flows.translate import request_v4, request_v6
from router.platform.base.facts import NetworkPath
from router.wire import ip
from router.wire.fragments import split

MAX_PACKET: Final = 65535
ANCILLARY_SPACE: Final = socket.CMSG_SPACE(4) * 2
USUAL_HOP_LIMIT: Final = 63
"""What is left of the 64 that systems begin with, after our hop."""


class IcmpSocket(Protocol):
    """A raw socket bound to an interface, whose MTU it keeps."""

    version: int
    mtu: int
    path: FindsPath

    def fileno(self) -> int: ...

    def send(self, query: ip.Packet, binding: Binding[Any]) -> None:
        """Send a query under the binding's outside identifier. Raises OSError."""
        ...

    def send_error(self, packet: bytes, address: tuple[str, int]) -> None:
        """Send an ICMP error, given as a whole packet from our address. Raises OSError."""
        ...

    def receive(self) -> ip.Packet:
        """The next packet that the filter passed. Raises BlockingIOError when there is none,
        OSError, and ip.Malformed. An IPv6 packet is addressed to `::`."""
        ...

    def close(self) -> None: ...


FindsPath = Callable[[str], NetworkPath]
"""What is known at present of the way to an address."""


def wrap_icmp_socket(version: int, sock: socket.socket, mtu: int, path: FindsPath) -> IcmpSocket:
    """An egress by a raw socket that is bound to an interface of this MTU."""
    kind = IcmpV4Socket if version == 4 else IcmpV6Socket
    return kind(sock, mtu, path)


class IcmpV4Socket:
    """See IcmpEgress."""

    version = 4

    def __init__(self, sock: socket.socket, mtu: int, path: FindsPath) -> None:
        self.mtu = mtu
        self.path = path
        self._socket = sock
        self.close = sock.close
        self.fileno = sock.fileno

    def send(self, query: ip.Packet, binding: Binding[Any]) -> None:
        packet = request_v4(query, binding.inside_id, binding.outside_id)
        if query.dont_fragment:
            self._socket.sendto(packet, binding.address)
            return
        try:
            self._send_cut(packet, self.mtu, binding.address)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            # The interface has become narrower, and word of it is still under way.
            self._send_cut(packet, self.path(binding.address[0]).mtu, binding.address)

    def _send_cut(self, packet: bytearray, mtu: int, address: tuple[str, int]) -> None:
        if len(packet) <= mtu:
            self._socket.sendto(packet, address)
            return
        for fragment in split(packet, mtu, random_identification()):
            self._socket.sendto(fragment, address)

    def send_error(self, packet: bytes, address: tuple[str, int]) -> None:
        self._socket.sendto(packet, address)

    def receive(self) -> ip.Packet:
        return ip.parse(self._socket.recv(MAX_PACKET))


class IcmpV6Socket:
    """See IcmpEgress."""

    version = 6

    def __init__(self, sock: socket.socket, mtu: int, path: FindsPath) -> None:
        self.mtu = mtu
        self.path = path
        self._socket = sock
        self.close = sock.close
        self.fileno = sock.fileno
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, USUAL_HOP_LIMIT)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, 1)

    def send(self, query: ip.Packet, binding: Binding[Any]) -> None:
        message = request_v6(query, binding.outside_id)
        hop_limit = query.hop_limit - 1
        traffic_class = query.traffic_class
        if hop_limit == USUAL_HOP_LIMIT and not traffic_class and not query.reassembled:
            self._socket.sendto(message, binding.address)
            return
        ancillary = [
            (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, pack("=i", hop_limit)),
            (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, pack("=i", traffic_class)),
            (socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, pack("=i", not query.reassembled)),
        ]
        self._socket.sendmsg([message], ancillary, 0, binding.address)

    def send_error(self, packet: bytes, address: tuple[str, int]) -> None:
        hop_limit = (socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT, pack("=i", packet[7]))
        self._socket.sendmsg([packet[ip.IPV6_HEADER :]], [hop_limit], 0, address)

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


def random_identification() -> int:
    """For fragments whose packet has no identification: not zero, not to be guessed."""
    return secrets.randbelow(0xFFFF) + 1
