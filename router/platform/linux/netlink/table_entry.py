"""The entries of the kernel's main table that routes into the TUN become.

An IPv4 route with a source address disappears with that address (fib_sync_down_addr in
net/ipv4/fib_semantics.c), so a twin stands beneath it: the same prefix without source, and with a
higher metric. Without it, packets to a captured address would leave past the router from the moment
that an address goes until routes are planned again. An IPv6 route stays, and loses its source.

Must not know: netlink.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from router.policy.routes.route import Label, Route

IPV6_METRIC: Final = 1
"""The metric tells IPv6 routes of the same prefix apart; others have 256 or 1024."""
IPV4_METRIC: Final = 0
"""What a route without RTA_PRIORITY has; the lowest there is."""
TWIN_METRIC: Final = 1
"""The next: every other would let routes of other programs for the same prefix go before a twin."""


class TableEntry(NamedTuple):
    """A route by the TUN as the kernel has it."""

    version: int
    first: int
    length: int
    label: Label
    metric: int

    @property
    def place(self) -> tuple[int, int, int]:
        """Of the entries at one place the kernel uses one."""
        return self.first, self.length, self.metric

    @property
    def has_source(self) -> bool:
        return self.label.source is not None

    @property
    def without_source(self) -> TableEntry:
        return self._replace(label=bare(self.label))


def bare(label: Label) -> Label:
    """The label of a route that has no source address: metrics are for connections from that."""
    return Label(label.mtu)


def entries_of(routes: Iterable[Route]) -> Iterator[TableEntry]:
    """All that `routes` become; a twin goes before its route."""
    bares: dict[Label, Label] = {}
    for version, first, length, label in routes:
        if version == 4 and label.source is not None:
            twin = bares.get(label) or bares.setdefault(label, bare(label))
            yield TableEntry(version, first, length, twin, TWIN_METRIC)
        metric = IPV4_METRIC if version == 4 else IPV6_METRIC
        yield TableEntry(version, first, length, label, metric)
