"""How a proxy is reached: by another outbound (`via`), or by the system's own routes.

Always true: every socket is bound to the interface that it leaves by, so that nothing that is sent
to a proxy enters the TUN.

Must not know: SOCKS5.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Hashable, Iterator
from typing import Protocol

from router.outbound.base import (
    ChangeWatcher,
    DatagramChannel,
    Dial,
    DialRequest,
    ManagedOutbound,
    source_towards,
)
from router.outbound.dial import SocketDial
from router.outbound.local_addresses import LocalAddresses
from router.outbound.system_routes import SystemRoutes
from router.outbound.udp import SocketDatagrams, open_at_a_port
from router.platform.base.facts import NetworkPath
from router.platform.base.system import System
from router.policy.network import Interface
from router.wire import ip


def version_of(address: bytes) -> int:
    return 4 if len(address) == 4 else 6


class ProxyWay(Protocol):
    """Addresses are those of the proxy, 4 or 16 bytes. outbound: None: the system's own routes."""

    @property
    def outbound(self) -> ManagedOutbound | None: ...

    def reaches(self, address: bytes) -> bool:
        """Whether there is a way at present."""
        ...

    def lacks(self) -> str:
        """Why it reaches none of the proxy's addresses, in one clause."""
        ...

    def dial(self, request: DialRequest, changed: Callable[[int], None]) -> Dial:
        """See Outbound.dial."""
        ...

    def open_datagrams(
        self, address: bytes, source: bytes, ports: Iterator[int]
    ) -> DatagramChannel:
        """What sends to the proxy from an address, as `source` gives it; see
        Outbound.open_datagrams. Raises OSError."""
        ...

    def source(self, address: bytes) -> bytes:
        """The address to send from; unspecified where the system has no route. Raises OSError."""
        ...

    def path(self, address: bytes) -> NetworkPath: ...

    def present(self, address: bytes) -> Hashable:
        """Equal as long as what is open can go on; None while there is no way."""
        ...

    def leaves_by(self, address: bytes) -> str | None:
        """The name of the interface."""
        ...

    def has_lost(self, sock: socket.socket) -> bool:
        """See Outbound.has_lost."""
        ...

    def has_lost_address(self, address: bytes) -> bool:
        """Whether an address that it has sent from is gone."""
        ...


class ViaOutbound:
    """See ProxyWay. name: the policy of the outbound."""

    def __init__(self, outbound: ManagedOutbound, name: str) -> None:
        self.outbound = outbound
        self._name = name
        self.dial = outbound.dial
        self.has_lost = outbound.has_lost
        self.has_lost_address = outbound.has_lost_address

    def reaches(self, address: bytes) -> bool:
        return self.outbound.up and self.outbound.reaches(version_of(address))

    def lacks(self) -> str:
        if self.outbound.up:
            return f"'{self._name}', by which it is reached, has no address of its family"
        return f"'{self._name}', by which it is reached, is down"

    def open_datagrams(
        self, address: bytes, source: bytes, ports: Iterator[int]
    ) -> DatagramChannel:
        version = version_of(address)
        if not self.outbound.carries(version, ip.UDP):
            raise OSError(errno.EACCES, "the way to the proxy carries no UDP")
        return self.outbound.open_datagrams(version, source, ports)

    def source(self, address: bytes) -> bytes:
        return source_towards(self.outbound, version_of(address), ip.format_address(address))

    def path(self, address: bytes) -> NetworkPath:
        return self.outbound.path(version_of(address), ip.format_address(address))

    def present(self, address: bytes) -> Hashable:
        return self.outbound.leaves_by if self.reaches(address) else None

    def leaves_by(self, address: bytes) -> str | None:  # noqa: ARG002 - whatever the address
        return self.outbound.leaves_by


class BySystemRoutes:
    """See ProxyWay."""

    outbound = None

    def __init__(
        self, routes: SystemRoutes, system: System, addresses: LocalAddresses, loop: ChangeWatcher
    ) -> None:
        self._routes = routes
        self._system = system
        self._addresses = addresses
        self._loop = loop

    def reaches(self, address: bytes) -> bool:
        return self._routes.interface(address) is not None

    def lacks(self) -> str:
        return "the system has no route to it"

    def dial(self, request: DialRequest, changed: Callable[[int], None]) -> Dial:
        interface = self._interface(request.destination)
        return SocketDial(self._system.tcp, self._loop, interface, request, changed)

    def open_datagrams(
        self, address: bytes, source: bytes, ports: Iterator[int]
    ) -> DatagramChannel:
        interface, version = self._interface(address), version_of(address)
        sockets = self._system.sockets
        return SocketDatagrams(*open_at_a_port(sockets, version, interface, source, ports))

    def source(self, address: bytes) -> bytes:
        return self.path(address).source or bytes(len(address))

    def path(self, address: bytes) -> NetworkPath:
        interface = self._interface(address)
        return self._system.facts.path(version_of(address), interface, ip.format_address(address))

    def present(self, address: bytes) -> Hashable:
        interface = self._routes.interface(address)
        return None if interface is None else (interface.name, interface.index)

    def leaves_by(self, address: bytes) -> str | None:
        interface = self._routes.interface(address)
        return None if interface is None else interface.name

    def has_lost(self, sock: socket.socket) -> bool:
        if self._system.tcp.has_lost_interface(sock):
            return True
        address = socket.inet_pton(sock.family, sock.getsockname()[0].partition("%")[0])
        return self.has_lost_address(address)

    def has_lost_address(self, address: bytes) -> bool:
        return address in self._addresses.gone

    def _interface(self, address: bytes) -> Interface:
        """Raises OSError."""
        interface = self._routes.interface(address)
        if interface is None:
            raise OSError(errno.ENETUNREACH, "the system has no route to the proxy")
        return interface
