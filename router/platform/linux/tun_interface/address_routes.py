"""The routes that the kernel makes with the TUN's addresses."""

from __future__ import annotations

from typing import Final

from router.platform.base.routes import ReconcileResult
from router.platform.families import FAMILY
from router.platform.linux.netlink.addresses import Address
from router.platform.linux.netlink.constants import (
    RT_SCOPE_HOST,
    RT_SCOPE_LINK,
    RTN_BROADCAST,
    RTN_LOCAL,
    RTN_UNICAST,
    RTPROT_KERNEL,
)
from router.platform.linux.netlink.request import request
from router.platform.linux.netlink.single_routes import SingleRoute, add_route
from router.platform.linux.reconcile import KernelRoute, present_routes
from router.platform.linux.tun_interface.addresses import TunAddresses
from router.platform.linux.tun_interface.attempt import attempt
from router.policy.network import TABLE_LOCAL, TABLE_MAIN, RouteKind
from router.policy.prefixes import format_prefix

NO_BROADCAST: Final = 31
"""An IPv4 network of this length or longer has no broadcast address (RFC 3021)."""
ROUTE_TYPES: Final = {
    RouteKind.UNICAST: (RTN_UNICAST, RT_SCOPE_LINK),
    RouteKind.LOCAL: (RTN_LOCAL, RT_SCOPE_HOST),
    RouteKind.BROADCAST: (RTN_BROADCAST, RT_SCOPE_LINK),
}
"""Type and scope of the IPv4 routes that come with an address (fib_add_ifaddr)."""


class AddressRoutes:
    """Those of `addresses`, by the interface `index`.

    The local route of an IPv6 address is expected only once it has been seen: older kernels make it
    by the loopback interface, and every kernel makes it a moment later.
    """

    def __init__(self, index: int, addresses: TunAddresses) -> None:
        self._index = index
        self._addresses = addresses
        self._seen = {
            route
            for address in addresses.configured
            for route in routes_of(address)
            if (route.version, route.kind) != (6, RouteKind.LOCAL)
        }

    def learn(self) -> None:
        """See which of them exist. Raises OSError."""
        for address in self._addresses.configured:
            present = present_routes(self._index, address.version).kernel
            self._seen |= present.intersection(routes_of(address))

    def restore(self, version: int, present: set[KernelRoute], result: ReconcileResult) -> None:
        """`present`: the kernel's routes of the family by the TUN."""
        for address in self._addresses.configured:
            if address.version != version:
                continue
            expected = routes_of(address)
            missing = [route for route in expected if route in self._seen - present]
            self._seen |= present.intersection(expected)
            if missing and address not in self._addresses.new:
                self._restore(address, missing, result)

    def _restore(
        self, address: Address, missing: list[KernelRoute], result: ReconcileResult
    ) -> None:
        if address.version == 4:
            for route in missing:
                attempt(result, _shown(route), self._add, address=address, route=route)
        else:  # only the kernel makes an IPv6 route of metric 0
            words = ", ".join(map(_shown, missing))
            attempt(result, words, self._addresses.add_anew, address=address)

    def _add(self, address: Address, route: KernelRoute) -> None:
        """Not by adding the address anew: removing an IPv4 address removes all routes by the
        TUN."""
        kind, scope = ROUTE_TYPES[route.kind]
        source = address.ip.packed
        wanted = SingleRoute(
            FAMILY[route.version],
            self._index,
            route.table,
            RTPROT_KERNEL,
            dst=route.first.to_bytes(len(source), "big"),
            length=route.length,
            kind=kind,
            scope=scope,
            prefsrc=source,
        )
        request(add_route(wanted))


def routes_of(address: Address) -> list[KernelRoute]:
    """Those that the kernel makes with an address and that something depends on, in the order in
    which they can be added: the others name the address as their source, which has to be local."""
    version, network = address.version, address.network
    own, bits = int(address.ip), network.max_prefixlen
    first, length = int(network.network_address), network.prefixlen
    routes = [
        KernelRoute(version, TABLE_LOCAL, RouteKind.LOCAL, own, bits),
        KernelRoute(version, TABLE_MAIN, RouteKind.UNICAST, first, length),
    ]
    if version == 4 and length < NO_BROADCAST:
        last = int(network.broadcast_address)
        routes.append(KernelRoute(version, TABLE_LOCAL, RouteKind.BROADCAST, last, bits))
    return routes


def _shown(route: KernelRoute) -> str:
    return f"the {route.kind} route {format_prefix(route.version, route.first, route.length)}"
