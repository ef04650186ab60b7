"""The TUN's routes against the ones wanted. The present routes are read each time, so no change is
made twice, and nothing depends on having seen what changed them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from router.platform.families import FAMILY
from router.platform.linux.kernel_routes import KINDS
from router.platform.linux.netlink.batch import add_entries, delete_entries, replace_entries
from router.platform.linux.netlink.constants import (
    RTA_DST,
    RTA_METRICS,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTA_TABLE,
    RTM_GETROUTE,
    RTPROT_KERNEL,
    RTPROT_TUNROUTER,
)
from router.platform.linux.netlink.dump import dump, rtnetlink
from router.platform.linux.netlink.messages import RTMSG, number, split_metrics
from router.platform.linux.netlink.table_entry import TWIN_METRIC, TableEntry, entries_of
from router.policy.network import TABLE_MAIN, RouteKind
from router.policy.routes.route import Label, Route

IPV6: Final = 6


class KernelRoute(NamedTuple):
    """A route that the kernel itself has made, as it does for an address."""

    version: int
    table: int
    kind: RouteKind
    first: int
    length: int


class Present(NamedTuple):
    """The routes of one family by an interface.

    ours    this router's in the main table
    second  those of them that come behind another program's of the same prefix and metric
    kernel  the kernel's own in all tables
    """

    ours: set[TableEntry]
    second: set[TableEntry]
    kernel: set[KernelRoute]


class Restored(NamedTuple):
    """What was not as wanted.

    routes      were missing or came second
    sourceless  existed without the source address that they have now; an address that goes takes
                it along
    """

    routes: list[TableEntry]
    sourceless: list[TableEntry]


def install_routes(index: int, routes: Sequence[Route]) -> None:
    """Add routes for the first time. One whose source has just gone has none, until routes are
    planned again. Raises PlatformError."""
    refused = add_entries(index, list(entries_of(routes)))
    add_entries(index, [each.without_source for each in refused if each.version == IPV6])


def reconcile_routes(index: int, version: int, wanted: Sequence[Route], there: Present) -> Restored:
    """Leave exactly these of the router's routes by an interface, before other programs' for the
    same prefixes. All are of one family; `there.ours` then has those that were surplus.

    At any time each captured address has a route. One whose source has just gone stays without.
    Raises OSError, PlatformError.
    """
    surplus, second, _ = there
    missing = _take_wanted(entries_of(wanted), surplus)
    change = _change_ipv6 if version == IPV6 else _change_ipv4
    refused = set(change(index, missing, surplus))
    # What is added goes before what is there; the packets in between go where they went anyway.
    behind = sorted(second - surplus, key=attrgetter("place"))
    delete_entries(index, behind)
    refused.update(add_entries(index, behind))
    changed = [each for each in (*missing, *behind) if each not in refused]
    return _restored(changed, (*missing, *behind), surplus)


def _take_wanted(wanted: Iterable[TableEntry], present: set[TableEntry]) -> list[TableEntry]:
    """Those that are missing; the others are taken from `present`. A million of them exist once."""
    missing = []
    for entry in wanted:
        if entry in present:
            present.remove(entry)
        else:
            missing.append(entry)
    return missing


def _change_ipv4(
    index: int, missing: Sequence[TableEntry], surplus: Collection[TableEntry]
) -> list[TableEntry]:
    """Those that were refused for their source. Raises PlatformError.

    A deletion removes the first route that has what it names: one without source is never deleted
    while one with a source may be at its place, and none that has an attribute less than a new one
    after that is added. The twins are there meanwhile.
    """
    add_entries(index, [each for each in missing if not each.has_source])
    delete_entries(index, [each for each in surplus if not each.has_source])
    former = [each for each in surplus if each.has_source]
    alike = {(each.place, each.label[:2]) for each in former}
    new = [each for each in missing if each.has_source]
    refused = add_entries(
        index, [each for each in new if (each.place, each.label[:2]) not in alike]
    )
    delete_entries(index, former)
    return refused + add_entries(
        index, [each for each in new if (each.place, each.label[:2]) in alike]
    )


def _change_ipv6(
    index: int, missing: Sequence[TableEntry], surplus: Collection[TableEntry]
) -> list[TableEntry]:
    """The same. IPv6 knows no two routes that differ in their label alone (rt6_duplicate_nexthop):
    there the new one takes the place of the other."""
    taken = {each.place for each in surplus}
    replaced = [each for each in missing if each.place in taken]
    refused = replace_entries(index, replaced)
    refused += add_entries(index, [each for each in missing if each.place not in taken])
    replace_entries(index, [each.without_source for each in refused])
    places = {each.place for each in replaced}
    delete_entries(index, [each for each in surplus if each.place not in places])
    return refused


def _restored(
    changed: Sequence[TableEntry], missing: Sequence[TableEntry], surplus: Collection[TableEntry]
) -> Restored:
    """`changed` in its two kinds: what was missing beside it, and what was there in its place."""
    lacking = {each.place for each in missing}
    there = {(each.place, each.label.mtu) for each in surplus if not each.has_source}

    def lost_its_source(entry: TableEntry) -> bool:
        if not entry.has_source:
            return False
        if entry.version == IPV6:
            return (entry.place, entry.label.mtu) in there
        return (entry.first, entry.length, TWIN_METRIC) not in lacking

    return Restored(
        [each for each in changed if not lost_its_source(each)],
        [each for each in changed if lost_its_source(each)],
    )


def present_routes(index: int, version: int) -> Present:
    """Those by an interface at present. Raises OSError."""
    found = Present(set(), set(), set())
    foreign = None
    labels: dict[tuple[bytes | None, bytes | None], Label] = {}
    with rtnetlink() as netlink:
        for fields, route in dump(netlink, RTM_GETROUTE, FAMILY[version], RTMSG):
            _, length, _, tos, table, protocol, _, kind, _ = fields
            table = number(route.get(RTA_TABLE), table)
            first = int.from_bytes(route.get(RTA_DST, b""), "big")
            is_by_interface = number(route.get(RTA_OIF)) == index
            if is_by_interface and protocol == RTPROT_KERNEL and kind in KINDS:
                found.kernel.add(KernelRoute(version, table, KINDS[kind], first, length))
            if table != TABLE_MAIN:
                continue
            metric = number(route.get(RTA_PRIORITY))
            place = first, length, tos, metric
            if protocol != RTPROT_TUNROUTER or not is_by_interface:
                foreign = place
                continue
            written = route.get(RTA_PREFSRC), route.get(RTA_METRICS)
            if written not in labels:
                labels[written] = _label(*written)
            one = TableEntry(version, first, length, labels[written], metric)
            found.ours.add(one)
            if foreign == place:  # the kernel lists them in the order of look-up
                found.second.add(one)
    return found


def _label(source: bytes | None, metrics: bytes | None) -> Label:
    """Of the payloads of RTA_PREFSRC and RTA_METRICS."""
    mtu, others = split_metrics(metrics or b"")
    return Label(mtu, int.from_bytes(source, "big") if source else None, others)
