"""ICMP queries by one interface, and what is received for them.

There is one socket for each outbound and family. For IPv4 it takes whole packets, so TTL, TOS, DF
and options leave as they came, and a packet that is too long is cut here. For IPv6 it takes
messages, and the kernel cuts those that came in fragments, and no others.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Any, Final, Protocol

from router.flows.addresses import UNSPECIFIED_V6
from router.flows.icmp import Binding
from router.flows.nat.translate import request_v4, request_v6
from router.outbound.base import Outbound, QueryChannel
from router.platform.base.facts import NetworkPath
from router.platform.icmpv6_socket import Icmpv6Socket
from router.platform.identifications import random_identification
from router.wire import ip
from router.wire.fragments import split
from router.wire.headers import V4_FRAGMENT, V6_HOP_LIMIT, V6_SOURCE

MAX_PACKET: Final = 65535
DONT_FRAGMENT: Final = ip.DONT_FRAGMENT >> 8
"""In the first byte of its field."""

FindsPath = Callable[[str], NetworkPath]
"""The path to an address at present."""
Takes = Callable[[ip.Packet], bool]
"""Whether a packet that was received is for another socket of the outbound, which has it then."""


class SocketChannel(QueryChannel, Protocol):
    """A query channel by a socket. mtu: of the interface, in bytes; the owner keeps it right."""

    mtu: int

    def close(self) -> None: ...


def open_channel(
    outbound: Outbound, version: int, sock: socket.socket, mtu: int, path: FindsPath, takes: Takes
) -> SocketChannel:
    """A channel by a raw socket that is bound to an interface of this MTU. Raises OSError."""
    kind = Icmpv4Channel if version == 4 else Icmpv6Channel
    return kind(outbound, sock, mtu, path, takes)


class Icmpv4Channel:
    """See QueryChannel."""

    version = 4

    def __init__(
        self, outbound: Outbound, sock: socket.socket, mtu: int, path: FindsPath, takes: Takes
    ) -> None:
        self.outbound = outbound
        self.mtu = mtu
        self._path = path
        self._takes = takes
        self._socket = sock

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(
        self,
        query: bytes | bytearray,
        start: int,
        binding: Binding[Any],
        *,
        reassembled: bool = False,  # noqa: ARG002 (in IPv4 the packet says so)
    ) -> None:
        packet = request_v4(
            query, start, binding.outside_address, binding.inside_id, binding.outside_id
        )
        if packet[V4_FRAGMENT] & DONT_FRAGMENT:
            self._socket.sendto(packet, binding.address)
            return
        try:
            self._send_cut(packet, self.mtu, binding.address)
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            # The interface's MTU has become less, and the notification has not arrived yet.
            self._send_cut(packet, self._path(binding.address[0]).mtu, binding.address)

    def _send_cut(self, packet: bytearray, mtu: int, address: tuple[str, int]) -> None:
        if len(packet) <= mtu:
            self._socket.sendto(packet, address)
            return
        for fragment in split(packet, mtu, random_identification()):
            self._socket.sendto(fragment, address)

    def send_error(self, packet: bytes, address: str) -> None:
        self._socket.sendto(packet, (address, 0))

    def receive(self) -> ip.Packet | None:
        packet = ip.parse(self._socket.recv(MAX_PACKET))
        return None if self._takes(packet) else packet


class Icmpv6Channel:
    """See QueryChannel."""

    version = 6

    def __init__(
        self, outbound: Outbound, sock: socket.socket, mtu: int, _path: FindsPath, takes: Takes
    ) -> None:
        """Raises OSError."""
        self.outbound = outbound
        self.mtu = mtu
        self._takes = takes
        self._socket = Icmpv6Socket(sock)

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def send(
        self,
        query: bytes | bytearray,
        start: int,
        binding: Binding[Any],
        *,
        reassembled: bool = False,
    ) -> None:
        self._socket.send(
            request_v6(query, start, binding.outside_id),
            binding.address,
            query[V6_HOP_LIMIT] - 1,
            (query[0] & 0x0F) << 4 | query[1] >> 4,
            source=binding.outside_address,
            fragment=reassembled,
        )

    def send_error(self, packet: bytes, address: str) -> None:
        source = packet[V6_SOURCE]
        body, hop_limit = packet[ip.IPV6_HEADER :], packet[V6_HOP_LIMIT]
        self._socket.send(body, (address, 0), hop_limit, source=source)

    def receive(self) -> ip.Packet | None:
        message, sender, hop_limit, traffic_class = self._socket.receive()
        packet = ip.parse(
            ip.build(
                sender,
                UNSPECIFIED_V6,
                ip.ICMPV6,
                message,
                hop_limit=hop_limit,
                traffic_class=traffic_class,
            )
        )
        return None if self._takes(packet) else packet
