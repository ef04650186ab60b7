"""The network as the system has it at a moment: what rules are held against before they are run.

Always true: it is plain data, read once; what could not be read is named in `unread`, so that an
answer can say what it does not know.

Must not know: how a system is asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface as it is at present. `up` means usable: enabled and with a carrier.

    `asks_neighbours`: whether it finds the next hop's link address by ARP or neighbour discovery,
    so that only what is on the link or behind a gateway can be reached by it. A tunnel does not.
    """

    name: str
    index: int
    up: bool
    mtu: int
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    asks_neighbours: bool = True

    def source(self, version: int) -> IPv4Address | IPv6Address | None:
        """An address of the family that packets to other networks can have as their source."""
        for address in self.addresses:
            if address.version == version and not address.is_link_local:
                return address.ip
        return None


class RouteKind(StrEnum):
    """What a route says about its destinations (rtnetlink(7), rtm_type)."""

    UNICAST = "unicast"
    LOCAL = "local"
    BROADCAST = "broadcast"
    MULTICAST = "multicast"
    BLACKHOLE = "blackhole"
    UNREACHABLE = "unreachable"
    PROHIBIT = "prohibit"
    THROW = "throw"


class SystemRoute(NamedTuple):
    """One route of the system. Addresses are ints; `gateway` is None where the destination is on
    the link; `interface` is empty where there is none (a blackhole). Of a multipath route, the
    first hop."""

    version: int
    first: int
    length: int
    interface: str
    gateway: int | None = None
    metric: int = 0
    table: int = 254
    ours: bool = False
    """Whether a router of this program has installed it."""
    kind: RouteKind = RouteKind.UNICAST
    source: int | None = None
    """The source address that the route itself asks for."""


class TableLookup(NamedTuple):
    """One step in which an ordinary packet (of this machine, without a mark, bound to nothing)
    looks for its route: a table, in which routes of at most `ignored_length` do not count."""

    version: int
    priority: int
    table: int
    ignored_length: int = -1


TABLE_LOCAL = 255
TABLE_MAIN = 254
TABLE_DEFAULT = 253
USUAL_LOOKUPS = tuple(
    TableLookup(version, priority, table)
    for version in (4, 6)
    for priority, table in ((0, TABLE_LOCAL), (32766, TABLE_MAIN), (32767, TABLE_DEFAULT))
)
"""What a system does that has not been told otherwise."""


class Endpoint(NamedTuple):
    """Where the packets that carry a tunnel go."""

    interface: str
    version: int
    address: int
    port: int


@dataclass(frozen=True, slots=True)
class Network:
    """Interfaces by name; routes of all tables; the system's DNS servers as (version, address);
    endpoints of tunnels (WireGuard peers); the order in which tables are asked."""

    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    routes: tuple[SystemRoute, ...] = ()
    dns_servers: tuple[tuple[int, int], ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    lookups: tuple[TableLookup, ...] = USUAL_LOOKUPS
    unread: tuple[str, ...] = ()
    """One clause for each thing that could not be read, and why."""
    missing_users: frozenset[str] = frozenset()
    """Accounts that were asked for and that the system does not have."""
    readable: bool = True
    """Whether interfaces and routes are known at all."""
    own_tuns: frozenset[str] = frozenset()
    """The interfaces that are TUNs of routers of this program which run."""
