"""The present network of a Mac, read without root and without changing anything.

Always true: what cannot be read is named in `unread`; nothing here raises for it.

Must not know: rules.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Final

from router.config.interfaces import DEFAULT_INTERFACE
from router.platform.darwin.absent import LIMITS, relayed
from router.platform.darwin.constants import (
    RTF_BLACKHOLE,
    RTF_BROADCAST,
    RTF_IFSCOPE,
    RTF_LOCAL,
    RTF_MULTICAST,
    RTF_REJECT,
)
from router.platform.darwin.kernel import RoutingKernel, Xnu
from router.platform.darwin.resolvers import read_resolvers, servers_of
from router.platform.darwin.route_messages import RouteMessage
from router.platform.darwin.runtime import RUNTIME, own_tuns
from router.platform.darwin.sockaddr import ADDRESS_SIZE, Address
from router.platform.darwin.state import read_interfaces, read_routes
from router.platform.darwin.ways import DarwinWays
from router.platform.endpoints import read_endpoints
from router.platform.privileged.runtime import RuntimeDirectory
from router.platform.reason import reason
from router.policy.machine.facts import Resolver
from router.policy.network import Interface, Network, RouteKind, SystemRoute

UTUN: Final = "utun"
KINDS: Final = (
    (RTF_REJECT, RouteKind.UNREACHABLE),
    (RTF_BLACKHOLE, RouteKind.BLACKHOLE),
    (RTF_LOCAL, RouteKind.LOCAL),
    (RTF_BROADCAST, RouteKind.BROADCAST),
    (RTF_MULTICAST, RouteKind.MULTICAST),
)
"""The first that fits."""


def present_network(
    kernel: RoutingKernel | None = None,
    runtime: RuntimeDirectory = RUNTIME,
    *,
    sources_of: Collection[str] = frozenset(),
    resolvers: Callable[[list[str]], Sequence[Resolver]] = read_resolvers,
) -> Network:
    """The interfaces, routes, DNS servers and tunnel endpoints of this moment. sources_of: the
    `interface:` of policies; no source addresses by them are known here."""
    kernel = Xnu() if kernel is None else kernel
    unread: list[str] = []
    interfaces: dict[str, Interface] = {}
    routes: tuple[SystemRoute, ...] = ()
    holders: dict[int, str | None] = {}
    tuns: frozenset[str] = frozenset()
    readable = True
    try:
        interfaces = read_interfaces(kernel)
        tuns = own_tuns(interfaces, runtime)
        routes = tuple(system_routes(kernel, interfaces, tuns))
        with closing(DarwinWays(kernel, interfaces.values(), tuns)) as ways:
            holders = {version: ways.default_holder(version) for version in ADDRESS_SIZE}
    except OSError as error:
        unread.append(f"the interfaces and routes of this system ({reason(error)})")
        readable = False
    known = len(unread)
    endpoints = read_endpoints(interfaces, {}, unread)
    endpoints_read = len(unread) == known
    dns_servers = servers_of(resolvers(unread))
    return Network(
        interfaces,
        routes,
        dns_servers,
        endpoints,
        unread=tuple(unread),
        readable=readable,
        default_holders=holders,
        own_tuns=tuns,
        host_rules=relayed(_named(sources_of, interfaces, holders)),
        endpoints_read=endpoints_read,
        limits=LIMITS,
        tun_name=UTUN,
    )


def _named(
    wanted: Collection[str], present: Collection[str], holders: Mapping[int, str | None]
) -> Collection[str]:
    """The interfaces of policies that there are."""
    found = set(wanted) & set(present)
    if DEFAULT_INTERFACE in wanted:
        found |= {name for name in holders.values() if name is not None}
    return sorted(found)


def system_routes(
    kernel: RoutingKernel, interfaces: Mapping[str, Interface], tuns: Collection[str]
) -> Iterator[SystemRoute]:
    """The unscoped ones, which decide about sockets that are bound to nothing. Raises OSError."""
    names = {each.index: name for name, each in interfaces.items()}
    for version in ADDRESS_SIZE:
        for route in read_routes(kernel, version):
            if not route.flags & RTF_IFSCOPE:
                name = names.get(route.interface, "")
                yield _system_route(route, name, ours=name in tuns)


def _system_route(route: RouteMessage, name: str, *, ours: bool) -> SystemRoute:
    kind = next((kind for flag, kind in KINDS if route.flags & flag), RouteKind.UNICAST)
    gateway = route.gateway.value if isinstance(route.gateway, Address) else None
    return SystemRoute(
        route.version,
        route.first,
        route.length,
        name,
        gateway,
        ours=ours,
        kind=kind,
    )


def kernel_ways(runtime: RuntimeDirectory = RUNTIME) -> DarwinWays | None:
    """None where the kernel refuses."""
    kernel = Xnu()
    try:
        present = read_interfaces(kernel)
        return DarwinWays(kernel, present.values(), own_tuns(present, runtime))
    except OSError:
        return None
