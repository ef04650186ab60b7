"""What the router asks of a system, in the router's own terms.

Always true: nothing above this layer names a system call, a socket option number or a netlink
attribute. What outlives the process is undone by `System.close`, and by the system itself when the
process is killed.

Must not know: rules, flows, packets.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv6Interface
from typing import Protocol

from router.policy.capture import Route
from router.policy.network import Interface, Network


class PlatformError(Exception):
    """The system refused something the router cannot run without; the message names the remedy."""


class HasFileno(Protocol):
    """Something to wait for."""

    def fileno(self) -> int: ...


class Poller(Protocol):
    """Waits for any of many descriptors to become readable."""

    def add(self, descriptor: int) -> None: ...

    def remove(self, descriptor: int) -> None: ...

    def wait(self, timeout: float | None) -> list[int]:
        """The readable ones, after at most `timeout` seconds (None: however long it takes)."""
        ...

    def close(self) -> None: ...


class TunDevice(Protocol):
    """An open TUN device. Closing it removes it, its addresses and its routes."""

    name: str
    index: int
    mtu: int

    def fileno(self) -> int: ...

    def read(self) -> bytes:
        """The next packet. Raises BlockingIOError when there is none, OSError when it is gone."""
        ...

    def write(self, packet: bytes | bytearray) -> None:
        """Hand a packet to the system. Raises BlockingIOError or OSError like `read`."""
        ...

    def close(self) -> None: ...


class Interfaces(Protocol):
    """The interfaces of the system, at the moment of the call."""

    def all(self) -> dict[str, Interface]: ...

    def holding_default(self, version: int, apart_from: str) -> str | None:
        """Name of the interface of the best default route of a family, `apart_from` not counted."""
        ...


class Changes(Protocol):
    """Becomes readable when interfaces, addresses or routes may have changed."""

    def fileno(self) -> int: ...

    def drain(self) -> None:
        """Read away what has been reported."""
        ...

    def close(self) -> None: ...


class System(Protocol):
    """What the engine needs of a system."""

    interfaces: Interfaces

    def may_run(self) -> str | None:
        """None, or one sentence that says which privilege is missing and how to get it."""
        ...

    def open_tun(
        self, name: str | None, mtu: int, addresses: Sequence[IPv4Interface | IPv6Interface]
    ) -> TunDevice:
        """A TUN device with its addresses, up. Raises PlatformError."""
        ...

    def add_routes(self, tun: TunDevice, routes: Sequence[Route]) -> None:
        """Send the prefixes to the TUN. Raises PlatformError that names the one refused."""
        ...

    def prepare_way_out(self, interface: Interface, tun: TunDevice) -> None:
        """Let packets that are bound to the interface out, and their answers in.

        Idempotent; what it changes is undone by `close` or when the process ends.
        """
        ...

    def icmp_socket(self, version: int, interface: Interface, echo_ids: range) -> socket.socket:
        """A raw ICMP socket bound to the interface, non-blocking.

        It receives echo replies with an identifier in `echo_ids` and errors that quote such an
        echo request. For IPv4 it is given whole packets to send, header included; for IPv6 it
        reports hop limit and traffic class of what it receives. Raises OSError.
        """
        ...

    def path_mtu(self, version: int, interface: Interface, address: str) -> int:
        """How long a packet to an address by an interface may be, as far as the system knows; the
        least that every path carries where it does not."""
        ...

    def network(self) -> Network:
        """Everything at present, routes too; see `router.platform.present_network`."""
        ...

    def watch(self) -> Changes: ...

    def poller(self) -> Poller: ...

    def lifeline(self) -> HasFileno:
        """Becomes readable when whatever would clean up after a kill is gone itself."""
        ...

    def close(self) -> None:
        """Undo everything that was changed and does not go by itself."""
        ...
