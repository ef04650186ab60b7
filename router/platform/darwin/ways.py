"""Which way packets would go if the utuns of this program were not there.

Theory of operation. The kernel answers only for the routes that it has, so it is asked for all of
them, and they are looked up here without those by the utuns, as rt_lookup_common does it
(net/route.c:3264-3390): for a bound socket the longest match counts if it uses the interface, then
the routes that are scoped to the interface, and then the unscoped default route if that uses it.

Must not know: policies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from router.platform.darwin.constants import (
    RTF_BLACKHOLE,
    RTF_BROADCAST,
    RTF_HOST,
    RTF_IFSCOPE,
    RTF_LOCAL,
    RTF_MULTICAST,
    RTF_REJECT,
)
from router.platform.darwin.kernel import RoutingKernel
from router.platform.darwin.route_messages import RouteMessage
from router.platform.darwin.sockaddr import ADDRESS_SIZE, Address
from router.platform.darwin.state import read_routes
from router.policy.kernel import Way
from router.policy.network import Interface
from router.policy.prefixes import HOST_MASKS

NO_WAY: int = RTF_REJECT | RTF_BLACKHOLE | RTF_LOCAL | RTF_BROADCAST | RTF_MULTICAST


class DarwinWays:
    """See KernelWays. Of one moment.

    present: all interfaces. tuns: the names of those of this program.
    """

    def __init__(
        self, kernel: RoutingKernel, present: Iterable[Interface], tuns: Iterable[str]
    ) -> None:
        """Raises OSError."""
        left_out = set(tuns)
        self._interfaces = {each.index: each for each in present if each.name not in left_out}
        self._routes = {
            version: [
                each for each in read_routes(kernel, version) if each.interface in self._interfaces
            ]
            for version in ADDRESS_SIZE
        }

    def close(self) -> None:
        """Nothing is open."""

    def way(self, version: int, address: int) -> Way | None:
        return self._as_way(longest(self._unscoped(version), address))

    def way_by(
        self, version: int, address: int, interface: str, source: bytes | None
    ) -> Way | None:
        """A source chooses no way here."""
        index = next((i for i, each in self._interfaces.items() if each.name == interface), None)
        if index is None:
            return None
        way = self._as_way(self._bound(version, address, index))
        return way._replace(source=source) if way is not None and source is not None else way

    def default_holder(self, version: int) -> str | None:
        found = longest([each for each in self._unscoped(version) if each.length == 0], 0)
        way = self._as_way(found)
        return None if way is None else way.interface

    def _bound(self, version: int, address: int, index: int) -> RouteMessage | None:
        found = longest(self._unscoped(version), address)
        if found is None or found.interface != index:
            scoped = (
                each
                for each in self._routes[version]
                if each.flags & RTF_IFSCOPE and each.interface == index
            )
            found = longest(scoped, address)
        if found is None:
            defaults = (each for each in self._unscoped(version) if each.length == 0)
            found = next((each for each in defaults if each.interface == index), None)
        return found

    def _unscoped(self, version: int) -> Sequence[RouteMessage]:
        return [each for each in self._routes[version] if not each.flags & RTF_IFSCOPE]

    def _as_way(self, route: RouteMessage | None) -> Way | None:
        if route is None or route.flags & NO_WAY:
            return None
        interface = self._interfaces[route.interface]
        source = interface.source(route.version)
        gateway = route.gateway
        return Way(
            interface.name,
            None if source is None else source.packed,
            gateway.value.to_bytes(ADDRESS_SIZE[gateway.version], "big")
            if isinstance(gateway, Address)
            else None,
        )


def longest(routes: Iterable[RouteMessage], address: int) -> RouteMessage | None:
    """A host route before a network route of one address, as its mask is longer
    (net/radix.c:711-720)."""
    matching = (
        each for each in routes if address ^ each.first <= HOST_MASKS[each.version][each.length]
    )
    return max(matching, key=lambda each: (each.length, each.flags & RTF_HOST), default=None)
