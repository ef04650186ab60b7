"""The present network of a Linux system, read without root and without changing anything.

Always true: what cannot be read is named in `unread`; nothing here raises for it.

Must not know: rules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import closing
from pathlib import Path

from router.platform.endpoints import EndpointMemory, read_endpoints
from router.platform.families import FAMILY
from router.platform.linux.host_rules.read import present_host_rules
from router.platform.linux.interfaces import read_interfaces
from router.platform.linux.kernel_routes import (
    read_lookups,
    read_routes,
    source_prefixes,
    source_routes,
)
from router.platform.linux.netlink.dump import rtnetlink
from router.platform.linux.netlink.route_lookup import RouteLookup
from router.platform.linux.own_tuns import own_tuns
from router.platform.linux.route_sources import sources_by_interface
from router.platform.linux.sources import borrowed, with_bound
from router.platform.linux.ways import LinuxWays
from router.platform.linux.wireguard import tunnel_readers
from router.platform.resolver import read_dns_servers
from router.policy.host_rules.model import DirectOutput
from router.policy.network import (
    USUAL_LOOKUPS,
    Endpoint,
    Interface,
    Network,
    Sources,
    SystemRoute,
    TableLookup,
)


def present_network(
    resolv_conf: Path = Path("/etc/resolv.conf"),
    *,
    sources_of: Collection[str] = frozenset(),
    tun: str = "",
) -> Network:
    """The interfaces, routes, DNS servers and tunnel endpoints of this moment, the source addresses
    by the `interface:` of policies, and the host's rules for these and the TUN."""
    unread: list[str] = []
    interfaces: dict[str, Interface] = {}
    routes: tuple[SystemRoute, ...] = ()
    lookups: tuple[TableLookup, ...] = USUAL_LOOKUPS
    holders: dict[int, str | None] = {}
    kernel_tunnels: list[str] = []
    tuns = own_tuns()
    readable = True
    try:
        with rtnetlink() as netlink:
            interfaces, kernel_tunnels = read_interfaces(netlink)
            names = {interface.index: name for name, interface in interfaces.items()}
            routes = tuple(read_routes(netlink, names))
            interfaces = _with_sources(interfaces, routes)
            lookups = tuple(read_lookups(netlink)) or USUAL_LOOKUPS
        with closing(LinuxWays(interfaces.values(), tuns)) as ways:
            holders = {version: ways.default_holder(version) for version in FAMILY}
    except OSError as error:
        unread.append(f"the interfaces and routes of this system ({error.strerror})")
        readable = False
    dns_servers = read_dns_servers(resolv_conf, unread)
    known = len(unread)
    found = read_endpoints(interfaces, tunnel_readers(kernel_tunnels), unread)
    endpoints_read = len(unread) == known
    sources = sources_by_interface(sources_of, interfaces, holders)
    host_rules = present_host_rules(_outputs(sources, interfaces, tun), unread)
    return Network(
        *(interfaces, routes, dns_servers, found, lookups, tuple(unread)),
        readable=readable,
        default_holders=holders,
        own_tuns=tuns,
        sources=sources,
        host_rules=host_rules,
        endpoints_read=endpoints_read,
    )


def _outputs(sources: Sources, interfaces: Mapping[str, Interface], tun: str) -> list[DirectOutput]:
    found = (interfaces[name] for name in sorted({name for name, _ in sources}))
    return [
        DirectOutput(each.name, each.index, [address.ip for address in each.addresses], tun)
        for each in found
    ]


def _with_sources(
    interfaces: dict[str, Interface], routes: Iterable[SystemRoute]
) -> dict[str, Interface]:
    """Interfaces with `borrowed` and `bound`. Raises OSError."""
    naming: dict[str, list[SystemRoute]] = {name: [] for name in interfaces}
    for route in routes:
        if route.source is not None and route.interface in naming:
            naming[route.interface].append(route)
    with RouteLookup() as lookup:
        by_rules = list(source_prefixes(lookup.socket))
        by_routes = source_routes(lookup.socket)
        return {
            name: with_bound(
                lookup,
                interface._replace(borrowed=borrowed(interface, naming[name])),
                [*by_rules, *by_routes.get(interface.index, ())],
            )
            for name, interface in interfaces.items()
        }


def kernel_ways() -> LinuxWays | None:
    """The kernel's answers of this moment; None where netlink is refused."""
    try:
        with rtnetlink() as netlink:
            present, _ = read_interfaces(netlink)
        return LinuxWays(present.values(), own_tuns())
    except OSError:
        return None


def present_endpoints(memory: EndpointMemory) -> tuple[Endpoint, ...]:
    """The endpoints of VPNs of this moment, as far as they can be read or were read before."""
    try:
        with rtnetlink() as netlink:
            interfaces, kernel_tunnels = read_interfaces(netlink)
    except OSError:
        return ()
    return read_endpoints(interfaces, tunnel_readers(kernel_tunnels), [], read=memory)
