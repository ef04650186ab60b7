"""Replies of this machine's own servers, which no rule is about.

A host in a captured network that connects to this machine by one of its other interfaces is
answered by the route towards it, which is the TUN's, from the address that it has connected to.
There is no flow for that: the reply leaves unchanged by the interface that has its source address,
as it would without a router.
"""

from __future__ import annotations

import socket

from router.outbound.local_addresses import LocalAddresses
from router.platform.base.system import System
from router.platform.identifications import random_identification
from router.policy.network import Interface
from router.wire import ip
from router.wire.fragments import split


class LocalReplies:
    """Sends packets out by the interface that has their source address.

    addresses: of this machine; their owner keeps them up to date.
    """

    def __init__(self, system: System, addresses: LocalAddresses) -> None:
        self._system = system
        self._addresses = addresses
        self._sockets: dict[tuple[int, int], socket.socket] = {}
        self.owns = addresses.has
        """Whether a source address is that of another interface of this machine."""

    def close_unused(self) -> None:
        """Close the sockets of interfaces that are gone, or have no address any more."""
        indices = self._addresses.interface_indices()
        for key in [key for key in self._sockets if key[1] not in indices]:
            self._sockets.pop(key).close()

    def send(self, packet: ip.Packet) -> None:
        """Send a packet whose source is one of `owns`. Raises OSError."""
        interface = self._addresses.owner(packet.source)
        sock = self._socket(packet.version, interface)
        address = (ip.format_address(packet.destination), 0)
        if len(packet.data) <= interface.mtu or packet.dont_fragment:
            sock.sendto(packet.data, address)
        else:
            for fragment in split(packet.data, interface.mtu, random_identification()):
                sock.sendto(fragment, address)

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def _socket(self, version: int, interface: Interface) -> socket.socket:
        key = (version, interface.index)
        if key not in self._sockets:
            self._sockets[key] = self._system.sockets.raw_socket(version, interface)
        return self._sockets[key]
