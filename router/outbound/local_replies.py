"""Packets that have nothing to do with the rules: answers of this machine's own servers.

Somebody in a captured network who connects to this machine by one of its other interfaces is
answered by the route to him, which is the TUN's, from the address that he asked. There is no flow
for that, and no rule has anything to say about it: the answer leaves unchanged by the interface
whose address it bears, as it would if there were no router.
"""

from __future__ import annotations

import secrets
import socket

from router.platform.base.system import System
from router.policy.network import Interface
from router.wire import ip
from router.wire.fragments import split


class LocalReplies:
    """Sends packets out by the interface that has their source address.

    tun: the name of our own device, whose addresses do not count.
    """

    def __init__(self, system: System, tun: str) -> None:
        self._system = system
        self._tun = tun
        self._owners: dict[bytes, Interface] = {}
        self._sockets: dict[tuple[int, int], socket.socket] = {}
        self.packets = 0

    def refresh(self) -> None:
        """Look anew which interfaces and addresses there are."""
        present = self._system.interfaces.all().values()
        self._owners = {
            address.ip.packed: interface
            for interface in present
            if interface.name != self._tun
            for address in interface.addresses
        }
        indices = {interface.index for interface in present}
        for key in [key for key in self._sockets if key[1] not in indices]:
            self._sockets.pop(key).close()

    def owns(self, source: bytes) -> bool:
        """Whether an address is that of another interface of this machine."""
        return source in self._owners

    def send(self, packet: ip.Packet) -> None:
        """Send a packet whose source `owns` knows. Raises OSError."""
        interface = self._owners[packet.source]
        sock = self._socket(packet.version, interface)
        address = (ip.format_address(packet.destination), 0)
        if len(packet.data) <= interface.mtu or packet.dont_fragment:
            sock.sendto(packet.data, address)
        else:
            for fragment in split(packet.data, interface.mtu, secrets.randbits(16) or 1):
                sock.sendto(fragment, address)
        self.packets += 1

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()

    def _socket(self, version: int, interface: Interface) -> socket.socket:
        key = (version, interface.index)
        if key not in self._sockets:
            self._sockets[key] = self._system.sockets.raw_socket(version, interface)
        return self._sockets[key]
