"""Interfaces and routes as the kernel has them, by sysctl dumps (net/rtsock.c:1768-2440). No
privileges are needed.

Always true: a malformed message is passed over, as one of no use is; clones of routes and
neighbours are no routes here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Interface, IPv6Interface
from typing import Final

from router.platform.darwin.constants import (
    AF_INET,
    AF_INET6,
    AF_ROUTE,
    AF_UNSPEC,
    CTL_NET,
    IFF_LOOPBACK,
    IFF_NOARP,
    IFF_POINTOPOINT,
    IFF_RUNNING,
    IFF_UP,
    NET_RT_DUMP2,
    NET_RT_IFLIST2,
    RTF_BLACKHOLE,
    RTF_HOST,
    RTF_IFSCOPE,
    RTF_LLINFO,
    RTF_REJECT,
    RTF_STATIC,
    RTF_UP,
    RTF_WASCLONED,
)
from router.platform.darwin.kernel import RoutingKernel
from router.platform.darwin.route_messages import (
    AddressMessage,
    InterfaceMessage,
    RouteMessage,
    messages,
)
from router.platform.darwin.routing_socket import Target
from router.platform.darwin.sockaddr import Link
from router.policy.network import Interface

FAMILY: Final = {4: AF_INET, 6: AF_INET6}


def read_routes(kernel: RoutingKernel, version: int) -> list[RouteMessage]:
    """Raises OSError."""
    dump = kernel.sysctl((CTL_NET, AF_ROUTE, 0, FAMILY[version], NET_RT_DUMP2, 0))
    return [
        each
        for each in messages(dump)
        if isinstance(each, RouteMessage)
        and each.flags & RTF_UP
        and not each.flags & (RTF_WASCLONED | RTF_LLINFO)
    ]


def target_of(route: RouteMessage) -> Target:
    """What names it."""
    return Target(
        route.version,
        route.first,
        route.length,
        bool(route.flags & RTF_HOST),
        route.interface if route.flags & RTF_IFSCOPE else 0,
    )


def is_made_by_hand(route: RouteMessage, index: int) -> bool:
    """Whether it leads to an interface, was requested by a program, and has no gateway: as each
    route that the router adds, and as none that the kernel adds with an address."""
    by_link = isinstance(route.gateway, Link) and route.gateway.number == index
    return route.interface == index and by_link and bool(route.flags & RTF_STATIC)


def default_holder(routes: Sequence[RouteMessage], apart_from: int) -> int | None:
    """The index of the interface of the primary default route, which is the unscoped one, with a
    gateway or, as of many VPNs, without. `apart_from`: the index of one that does not count."""
    for route in routes:
        is_usable = not route.flags & (RTF_IFSCOPE | RTF_REJECT | RTF_BLACKHOLE)
        if route.length == 0 and is_usable and route.interface != apart_from:
            return route.interface
    return None


class DarwinInterfaces:
    """See Interfaces."""

    def __init__(self, kernel: RoutingKernel) -> None:
        self._kernel = kernel

    def all(self) -> dict[str, Interface]:
        return read_interfaces(self._kernel)

    def with_sources(self, interface: Interface) -> Interface:
        """xnu has no routes that hold for some sources only, and no borrowed addresses."""
        return interface

    def holding_default(
        self, version: int, present: Mapping[str, Interface], apart_from: str
    ) -> str | None:
        ours = present[apart_from].index if apart_from in present else 0
        holder = default_holder(read_routes(self._kernel, version), ours)
        return next((name for name, each in present.items() if each.index == holder), None)


def read_interfaces(kernel: RoutingKernel) -> dict[str, Interface]:
    """By name. Raises OSError."""
    dump = kernel.sysctl((CTL_NET, AF_ROUTE, 0, AF_UNSPEC, NET_RT_IFLIST2, 0))
    links: list[InterfaceMessage] = []
    addresses: dict[int, list[IPv4Interface | IPv6Interface]] = defaultdict(list)
    for each in messages(dump):
        if isinstance(each, InterfaceMessage) and each.name:
            links.append(each)
        elif isinstance(each, AddressMessage):
            kind = IPv4Interface if each.address.version == 4 else IPv6Interface
            addresses[each.interface].append(kind((each.address.value, each.length)))
    return {link.name: _interface(link, addresses[link.number]) for link in links}


def is_loopback(kernel: RoutingKernel, name: str) -> bool:
    """Raises OSError."""
    dump = kernel.sysctl((CTL_NET, AF_ROUTE, 0, AF_UNSPEC, NET_RT_IFLIST2, 0))
    return any(
        isinstance(each, InterfaceMessage) and each.name == name and each.is_loopback
        for each in messages(dump)
    )


def _interface(
    link: InterfaceMessage, addresses: Sequence[IPv4Interface | IPv6Interface]
) -> Interface:
    has_neighbours = not link.flags & (IFF_POINTOPOINT | IFF_LOOPBACK | IFF_NOARP)
    is_up = link.flags & IFF_UP and link.flags & IFF_RUNNING
    return Interface(
        link.name, link.number, bool(is_up), link.mtu, tuple(addresses), has_neighbours
    )
