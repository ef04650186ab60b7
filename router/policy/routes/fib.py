"""The kernel's route lookup for a packet of this machine, with the planned routes installed.

Theory of operation. The lookups are done in their order; in each table the longest matching prefix
wins, of equal prefixes the one of the lowest metric; the first table with a match decides (`throw`
is no match). The planned routes are in the main table and win against routes for the same prefix.

Always true: routes that a router of this program has installed already are ignored.

Must not know: rules, policies; packets with a mark or bound to an interface.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

from router.policy.network import (
    TABLE_MAIN,
    Network,
    RouteKind,
    SystemRoute,
    TableLookup,
)
from router.policy.prefixes import HOST_MASKS, WIDTHS
from router.policy.routes.route import Route

Choice = SystemRoute | Route | None
"""A Route is one of ours, into the TUN; None: there is no route."""


class PlannedRoutes:
    """The routes that would be installed, by longest prefix."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """`routes` are sorted."""
        self._routes = routes
        present = set(map(itemgetter(0, 2), routes))
        self._lengths = {
            version: sorted((length for of, length in present if of == version), reverse=True)
            for version in WIDTHS
        }

    def match(self, version: int, address: int, below: int = 129) -> Route | None:
        """The longest one for an address, of those shorter than `below`."""
        masks = HOST_MASKS[version]
        for length in self._lengths.get(version, ()):
            if length >= below:
                continue
            wanted = (version, address & ~masks[length], length)
            position = bisect_left(self._routes, wanted)
            if position < len(self._routes) and self._routes[position][:3] == wanted:
                return self._routes[position]
        return None

    def inside(self, version: int, first: int, length: int) -> Iterator[Route]:
        """Those for the prefix itself and for prefixes inside it, ascending."""
        last = first | HOST_MASKS[version][length]
        for position in range(bisect_left(self._routes, (version, first, length)), len(self)):
            route = self._routes[position]
            if route.version != version or route.first > last:
                return
            yield route

    def __len__(self) -> int:
        return len(self._routes)


class Fib:
    """The forwarding information base: the tables of a network, with planned routes in them."""

    def __init__(self, network: Network, planned: PlannedRoutes) -> None:
        self._planned = planned
        self._lookups = network.lookups
        self._tables: dict[tuple[int, int], dict[tuple[int, int], SystemRoute]] = {}
        for route in network.routes:
            if not route.ours:
                self._add(route)

    def _add(self, route: SystemRoute) -> None:
        table = self._tables.setdefault((route.version, route.table), {})
        prefix = route.first, route.length
        if prefix not in table or route.metric < table[prefix].metric:
            table[prefix] = route

    def lookup(self, version: int, address: int) -> Choice:
        """The route of a packet to an address."""
        for lookup in self._lookups:
            if lookup.version == version:
                found = self._in_table(lookup, address)
                if found is not None:
                    return found
        return None

    def before_main(self, version: int) -> Iterator[int]:
        """The tables that are looked up before the main one, apart from the local one."""
        for lookup in self._lookups:
            if lookup.version == version:
                if lookup.table == TABLE_MAIN and lookup.ignored_length < 1:
                    return
                yield lookup.table

    def _in_table(self, lookup: TableLookup, address: int) -> Choice:
        version, table = lookup.version, self._tables.get((lookup.version, lookup.table), {})
        found = longest(table.values(), version, address) if table else None
        ours = self._planned.match(version, address) if lookup.table == TABLE_MAIN else None
        if ours is not None and (found is None or ours.length >= found.length):
            return ours if ours.length > lookup.ignored_length else None
        if found is None or found.kind is RouteKind.THROW:
            return None
        return found if found.length > lookup.ignored_length else None


def longest(routes: Iterable[SystemRoute], version: int, address: int) -> SystemRoute | None:
    """Of routes that match an address the longest, then the one of the lowest metric."""
    matching = (
        route
        for route in routes
        if route.version == version and address ^ route.first <= HOST_MASKS[version][route.length]
    )
    return max(matching, key=lambda route: (route.length, -route.metric), default=None)
