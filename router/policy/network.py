"""The network of the system at one moment, as plain data: `check` and `explain` judge rules by it.

Always true: it is read once; what could not be read is named in `unread`, and the output of
`check` lists it.

Must not know: how a system is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import TYPE_CHECKING, NamedTuple

from router.policy.host_rules.model import HostRules

if TYPE_CHECKING:
    from router.config.model import Proxy


class Interface(NamedTuple):
    """One network interface as it is at present. `up` means usable: enabled and with a carrier.

    `asks_neighbours`: whether the next hop's link address is resolved by ARP or neighbour
    discovery, so that only hosts on the link or behind a gateway are reachable. False for a tunnel.
    `borrowed`: addresses of other interfaces that routes by this one name as their source, of the
    families of which it has none. `bound`: those that its sockets are to be bound to, since the way
    depends on the source; at most one of a family.
    """

    name: str
    index: int  # type: ignore[assignment]  # no tuple to search in
    up: bool
    mtu: int
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    asks_neighbours: bool = True
    alternative_names: tuple[str, ...] = ()
    borrowed: tuple[IPv4Address | IPv6Address, ...] = ()
    bound: tuple[IPv4Address | IPv6Address, ...] = ()

    def source(self, version: int) -> IPv4Address | IPv6Address | None:
        """An address of the family that packets to other networks can have as their source."""
        for address in self.addresses:
            if address.version == version and not address.is_link_local:
                return address.ip
        return next((each for each in self.borrowed if each.version == version), None)

    def bound_source(self, version: int) -> IPv4Address | IPv6Address | None:
        """The address that sockets of a family are to be bound to."""
        return next((each for each in self.bound if each.version == version), None)


class RouteKind(StrEnum):
    """The type of a route (rtnetlink(7), rtm_type)."""

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
    """The preferred source address of the route (RTA_PREFSRC)."""


Metrics = tuple[tuple[int, bytes], ...]
"""Attributes of a route that only the system interprets, as (type, payload)."""


class SourceRange(NamedTuple):
    """Destinations to which the system sends with one source address by one interface, and with
    which attributes of its route, the MTU apart. Addresses are ints; `source` is a local one."""

    first: int
    last: int
    source: int
    metrics: Metrics = ()


Sources = Mapping[tuple[str, int], Sequence[SourceRange]]
"""By name of the interface and IP version: ascending, as few as possible, with gaps where the
system has no source; empty where it is unknown."""
NO_SOURCES: Sources = {}


class TableLookup(NamedTuple):
    """One step of the route lookup for a packet of this machine without a mark and without a bound
    interface: a table, in which routes of at most `ignored_length` do not count."""

    version: int
    priority: int
    table: int
    ignored_length: int = -1


LOOPBACKS = frozenset({"lo", "lo0"})
"""The names of the loopback interface: of Linux, and of macOS."""
TABLE_LOCAL = 255
TABLE_MAIN = 254
TABLE_DEFAULT = 253
USUAL_LOOKUPS = tuple(
    TableLookup(version, priority, table)
    for version in (4, 6)
    for priority, table in ((0, TABLE_LOCAL), (32766, TABLE_MAIN), (32767, TABLE_DEFAULT))
)
"""The lookups of a system without further `ip rule`s."""


class Endpoint(NamedTuple):
    """The far end of a tunnel: the destination of the packets that carry it."""

    interface: str
    version: int
    address: int
    port: int


class ProxyServer(NamedTuple):
    """An address of a proxy that the system's own routes lead to, and its policy."""

    policy: str
    version: int
    address: int
    port: int


class ProxyFault(NamedTuple):
    """Why a proxy cannot be used now; is_of_name: because its name is not resolved."""

    why: str
    is_of_name: bool


NO_HOST_RULES = HostRules()


class Network(NamedTuple):
    """Interfaces by name; routes of all tables; the system's DNS servers as (version, address);
    endpoints of tunnels (WireGuard peers); the lookups in their order."""

    interfaces: Mapping[str, Interface] = {}
    routes: tuple[SystemRoute, ...] = ()
    dns_servers: tuple[tuple[int, int], ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    lookups: tuple[TableLookup, ...] = USUAL_LOOKUPS
    unread: tuple[str, ...] = ()
    """One clause for each thing that could not be read, and why."""
    missing_users: frozenset[str] = frozenset()
    """Accounts that the rules file names and that the system does not have."""
    lacking_for_web: tuple[str, ...] = ()
    """The Python packages that the web process needs and that are not installed."""
    readable: bool = True
    """Whether interfaces and routes are known at all."""
    default_holders: Mapping[int, str | None] = {}
    """By IP version the interface of the default route that the kernel would use without the TUNs
    of this program."""
    own_tuns: frozenset[str] = frozenset()
    """The TUN interfaces of running routers of this program."""
    sources: Sources = NO_SOURCES
    """Of the interfaces that were named to the reader."""
    proxy_faults: Mapping[Proxy, ProxyFault] = {}
    """Of the proxies that were tried, those that cannot be reached."""
    ipv6_refused: frozenset[str] = frozenset()
    """Proxies, as their `server` is written, that have refused IPv6 destinations of the router that
    runs."""
    host_rules: HostRules = NO_HOST_RULES
    """What the host's own rules do to packets by the interfaces of `sources`."""
    endpoints_read: bool = True
    """Whether all endpoints that there are are known."""
    limits: tuple[str, ...] = ()
    """A sentence without a full stop for each thing that cannot be had on this system."""
    tun_name: str = ""
    """What the name of a TUN is here, before a number; empty: any name."""
