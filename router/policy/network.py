"""The network as the system has it at a moment: what rules are held against before they are run.

Always true: it is plain data, read once; what could not be read is named in `unread`, so that an
answer can say what it does not know.

Must not know: how a system is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface as it is at present. `up` means usable: enabled and with a carrier."""

    name: str
    index: int
    up: bool
    mtu: int
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()

    def source(self, version: int) -> IPv4Address | IPv6Address | None:
        """An address of the family that packets to other networks can have as their source."""
        for address in self.addresses:
            if address.version == version and not address.is_link_local:
                return address.ip
        return None


class SystemRoute(NamedTuple):
    """One unicast route of the system. Addresses are ints; `gateway` is None where the destination
    is on the link. Of a multipath route, the first hop."""

    version: int
    first: int
    length: int
    interface: str
    gateway: int | None = None
    metric: int = 0
    table: int = 254
    ours: bool = False
    """Whether a router of this program has installed it."""


class Endpoint(NamedTuple):
    """Where the packets that carry a tunnel go."""

    interface: str
    version: int
    address: int
    port: int


@dataclass(frozen=True, slots=True)
class Network:
    """Interfaces by name; routes of all tables; the system's DNS servers as (version, address);
    endpoints of tunnels (WireGuard peers)."""

    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    routes: tuple[SystemRoute, ...] = ()
    dns_servers: tuple[tuple[int, int], ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    unread: tuple[str, ...] = ()
    """One clause for each thing that could not be read, and why."""
