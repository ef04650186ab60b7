"""What the system has at present: interfaces, routes, paths, endpoints of tunnels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from router.platform.base.descriptors import HasFileno
from router.platform.base.errors import PlatformError
from router.policy.network import Endpoint, Interface, Network, SourceRange


class Interfaces(Protocol):
    """The interfaces of the system, at the moment of the call."""

    def all(self) -> dict[str, Interface]: ...

    def holding_default(self, version: int, apart_from: str) -> str | None:
        """Name of the interface of the best default route of a family, `apart_from` not counted."""
        ...


class Changes(HasFileno, Protocol):
    """Becomes readable when interfaces, addresses or routes may have changed."""

    def drain(self) -> None:
        """Read and discard the notifications."""
        ...

    def close(self) -> None: ...


class NetworkPath(NamedTuple):
    """The path to an address.

    mtu: bytes; the least that every path carries where it is unknown.
    source: the source address of packets; None where the system has no route.
    """

    mtu: int
    source: bytes | None


class Facts(Protocol):
    """Read without changing anything."""

    def network(self) -> Network:
        """Everything at present, routes too; see `router.platform.present_network`."""
        ...

    def path(self, version: int, interface: Interface, address: str) -> NetworkPath:
        """The path to an address by an interface, as far as the system knows it."""
        ...

    def sources(self, version: int, interface: Interface) -> Sequence[SourceRange]:
        """Which source address packets by an interface get, by destination; empty where that is
        unknown. The interface has been prepared, see RouteInstaller.prepare_interface."""
        ...

    def endpoints(self) -> Sequence[Endpoint]:
        """Where tunnels send their packets at present, as far as the system reports it. Raises
        PlatformError."""
        ...

    def request_endpoints(self, done: Callable[[Sequence[Endpoint] | PlatformError], None]) -> None:
        """The same without waiting: `done` is called with the endpoints or the error, at the latest
        by GuardConnection.dispatch. Raises PlatformError."""
        ...

    def watch(self) -> Changes: ...
