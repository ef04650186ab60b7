"""Source addresses that an interface's routes and the system's rules name.

1. An interface without an address of its own may send from another's, which its routes name
   (`src`): the usual way where a machine has its address on the loopback interface.
2. Where the way depends on the source (`ip rule from ADDRESS`, IPv6's `default from PREFIX`), a
   socket that is bound to the interface alone is routed before it has one. It is to be bound to the
   address as well.

Must not know: which of its interfaces the router uses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import chain, islice
from typing import Final

from router.platform.linux.kernel_routes import SourcePrefix, read_routes, source_prefixes
from router.platform.linux.netlink.dump import rtnetlink
from router.platform.linux.netlink.route_lookup import RouteLookup
from router.platform.linux.ways import PROBES, default_by
from router.policy.network import Interface, RouteKind, SystemRoute
from router.policy.prefixes import HOST_MASKS

Address = IPv4Address | IPv6Address

VERSIONS: Final = (4, 6)
MOST_ROUTES: Final = 1000


def with_sources(interface: Interface, by_source: Iterable[SourcePrefix]) -> Interface:
    """The same interface with `borrowed` and `bound`. by_source: for which alone it has routes.

    Raises OSError."""
    with RouteLookup() as lookup:
        lacking = [version for version in VERSIONS if interface.source(version) is None]
        if interface.up and lacking:
            named = (_named(lookup, interface, version) for version in lacking)
            interface = interface._replace(borrowed=tuple(chain.from_iterable(named)))
        return with_bound(lookup, interface, [*source_prefixes(lookup.socket), *by_source])


def with_bound(
    lookup: RouteLookup, interface: Interface, prefixes: Sequence[SourcePrefix]
) -> Interface:
    """The same interface with `bound`. prefixes: what rules and routes by it look at as the source.

    Raises OSError."""
    bound = (_bound(lookup, interface, version, prefixes) for version in VERSIONS)
    return interface._replace(bound=tuple(address for address in bound if address))


def _named(lookup: RouteLookup, interface: Interface, version: int) -> tuple[Address, ...]:
    """What the default route names, or else other routes; not all of them are read where there are
    very many."""
    default = default_by(lookup, version, interface.index)
    if default is not None and default.source is not None:
        return (ip_address(default.source),)
    with rtnetlink() as netlink:
        names = {interface.index: interface.name}
        routes = read_routes(netlink, names, interface.index, (version,))
        return borrowed(interface, islice(routes, MOST_ROUTES))


def borrowed(interface: Interface, routes: Iterable[SystemRoute]) -> tuple[Address, ...]:
    """The preferred sources of routes by an interface, that of the shortest prefix first, of the
    families of which it has no address of its own."""
    ordered = sorted(
        (
            route
            for route in routes
            if route.interface == interface.name
            and route.kind is RouteKind.UNICAST
            and route.source is not None
            and interface.source(route.version) is None
        ),
        key=lambda route: (route.version, route.length, route.metric),
    )
    named = (_address(route.version, route.source or 0) for route in ordered)
    return tuple(dict.fromkeys(named))


def _bound(
    lookup: RouteLookup,
    interface: Interface,
    version: int,
    prefixes: Iterable[SourcePrefix],
) -> Address | None:
    """The source of an interface, where the way depends on it."""
    if not interface.up or interface.source(version) is None:
        return None
    source = _source(lookup, interface, version)
    number = int(source)
    for of, first, length in prefixes:
        if of == version and number ^ first <= HOST_MASKS[version][length]:
            return source
    return None


def _source(lookup: RouteLookup, interface: Interface, version: int) -> Address:
    """The one that the kernel chooses, where that is the interface's own."""
    usual = interface.source(version)
    assert usual is not None, "the caller has looked"
    answer = lookup.ask(version, PROBES[version][-1], oif=interface.index)
    if answer is None or answer.source is None:
        return usual
    chosen = ip_address(answer.source)
    own = [each.ip for each in interface.addresses]
    return chosen if chosen in (*own, *interface.borrowed) else usual


def _address(version: int, number: int) -> Address:
    return IPv4Address(number) if version == 4 else IPv6Address(number)
