"""What the system has at present: interfaces, routes, paths, endpoints of tunnels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from router.platform.base.connections import Connection
from router.platform.base.descriptors import HasFileno
from router.platform.base.errors import PlatformError
from router.policy.kernel import KernelWays
from router.policy.network import Endpoint, Interface, SourceRange


class Interfaces(Protocol):
    """The interfaces of the system, at the moment of the call."""

    def all(self) -> dict[str, Interface]: ...

    def with_sources(self, interface: Interface) -> Interface:
        """The same interface with what it borrows and what its sockets are to be bound to. Raises
        OSError."""
        ...

    def holding_default(
        self, version: int, present: Mapping[str, Interface], apart_from: str
    ) -> str | None:
        """Name of the interface of the default route that the system would use for a family, the
        one that is `apart_from` not counted. present: all interfaces. Raises OSError."""
        ...


class ForeignRoute(NamedTuple):
    """A route of another program, or the system's own. interface: its index; 0 where it has none,
    or several."""

    version: int
    first: int
    length: int
    interface: int


class Reported(NamedTuple):
    """What notifications say.

    routes: those of other programs that were added or removed, where nothing else was; None where
    anything may have changed.
    address_removed: whether an interface may have lost an address, perhaps one that it got after
    the addresses were read last.
    """

    routes: Sequence[ForeignRoute] | None
    address_removed: bool


class Changes(HasFileno, Protocol):
    """Becomes readable when something may have changed."""

    def drain(self) -> object:
        """Read the notifications. Raises OSError."""
        ...

    def close(self) -> None: ...


class NetworkChanges(Changes, Protocol):
    """Becomes readable when interfaces, addresses or routes may have changed."""

    def drain(self) -> Reported: ...


class NetworkPath(NamedTuple):
    """The path to an address.

    mtu: bytes; the least that every path carries where it is unknown.
    source: the source address of packets; None where the system has no route.
    """

    mtu: int
    source: bytes | None


class Facts(Protocol):
    """Read without changing anything."""

    def ways(self, present: Mapping[str, Interface], apart_from: str) -> KernelWays:
        """The system's answers about ways of this moment, without the interface `apart_from`;
        the caller closes them. Raises OSError."""
        ...

    def path(self, version: int, interface: Interface, address: str) -> NetworkPath:
        """The path to an address by an interface, as far as the system knows it."""
        ...

    def forget_sources(self) -> None:
        """What `sources` has answered may be out of date."""
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

    def connections(self, version: int, protocol: int) -> Iterator[Sequence[Connection]]:
        """The connected TCP or UDP sockets of all programs, this one's too, a bounded number at
        each step. An IPv6 socket that is connected by IPv4 is among those of IPv6. Raises
        OSError."""
        ...

    def watch(self) -> NetworkChanges: ...

    def watch_neighbours(self) -> Changes:
        """Becomes readable when the link address of a neighbour may have changed."""
        ...
