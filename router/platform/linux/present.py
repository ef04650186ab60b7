"""The present network of a Linux system, read without root and without changing anything.

Always true: what cannot be read is named in `unread`; nothing here raises for it.

Must not know: rules.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from router.platform.linux.endpoints import EndpointMemory, read_endpoints
from router.platform.linux.interfaces import read_interfaces
from router.platform.linux.kernel_routes import read_lookups, read_routes
from router.platform.linux.netlink.dump import rtnetlink
from router.platform.linux.own_tuns import own_tuns
from router.platform.linux.route_sources import sources_by_interface
from router.platform.resolver import read_dns_servers
from router.policy.network import (
    USUAL_LOOKUPS,
    Endpoint,
    Interface,
    Network,
    SystemRoute,
    TableLookup,
)


def present_network(
    resolv_conf: Path = Path("/etc/resolv.conf"),
    *,
    endpoints: bool = True,
    sources_of: Collection[str] = frozenset(),
) -> Network:
    """The interfaces, routes, DNS servers and, if wanted, tunnel endpoints of this moment, and the
    source addresses by the `interface:` of policies."""
    unread: list[str] = []
    interfaces: dict[str, Interface] = {}
    routes: tuple[SystemRoute, ...] = ()
    lookups: tuple[TableLookup, ...] = USUAL_LOOKUPS
    kernel_tunnels: list[str] = []
    readable = True
    try:
        with rtnetlink() as netlink:
            interfaces, kernel_tunnels = read_interfaces(netlink)
            names = {interface.index: name for name, interface in interfaces.items()}
            routes = tuple(read_routes(netlink, names))
            lookups = tuple(read_lookups(netlink)) or USUAL_LOOKUPS
    except OSError as error:
        unread.append(f"the interfaces and routes of this system ({error.strerror})")
        readable = False
    dns_servers = read_dns_servers(resolv_conf, unread)
    found = read_endpoints(interfaces, kernel_tunnels, unread) if endpoints else ()
    return Network(
        *(interfaces, routes, dns_servers, found, lookups, tuple(unread)),
        readable=readable,
        own_tuns=own_tuns(),
        sources=sources_by_interface(sources_of, interfaces, routes),
    )


def present_endpoints(memory: EndpointMemory) -> tuple[Endpoint, ...]:
    """The endpoints of VPNs of this moment, as far as they can be read or were read before."""
    try:
        with rtnetlink() as netlink:
            interfaces, kernel_tunnels = read_interfaces(netlink)
    except OSError:
        return ()
    return read_endpoints(interfaces, kernel_tunnels, [], read=memory)
