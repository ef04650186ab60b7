"""The TUN's routes against the ones wanted. The present routes are read each time, so no change is
made twice, and nothing depends on having seen what changed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from router.platform.families import FAMILY
from router.platform.linux.kernel_routes import KINDS
from router.platform.linux.netlink.batch import add_routes, delete_routes, replace_routes
from router.platform.linux.netlink.constants import (
    RTA_DST,
    RTA_METRICS,
    RTA_OIF,
    RTA_PRIORITY,
    RTA_TABLE,
    RTAX_MTU,
    RTM_GETROUTE,
    RTPROT_KERNEL,
    RTPROT_TUNROUTER,
)
from router.platform.linux.netlink.dump import dump, rtnetlink
from router.platform.linux.netlink.messages import RTMSG, attributes, number
from router.policy.network import TABLE_MAIN, RouteKind
from router.policy.routes.capture import Route

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

    ours: set[Route]
    second: set[Route]
    kernel: set[KernelRoute]


def reconcile_routes(index: int, wanted: Sequence[Route], there: Present) -> list[Route]:
    """Leave exactly these of the router's routes by an interface, before other programs' for the
    same prefixes; the ones that were missing or came second. `there`: those of the same family.

    Added before others are removed. Raises OSError, PlatformError.
    """
    present, second, _ = there
    missing = [route for route in wanted if route not in present]
    surplus = present.difference(wanted)
    # IPv6 knows no two routes that differ in their MTU alone: there the new one takes its place.
    of_other_mtu = {route[:3] for route in surplus if route.version == IPV6}
    replaced = [route for route in missing if route[:3] in of_other_mtu]
    places = {route[:3] for route in replaced}
    replace_routes(index, replaced)
    add_routes(index, [route for route in missing if route[:3] not in places])
    delete_routes(index, sorted(route for route in surplus if route[:3] not in places))
    # What is added goes before what is there; the packets in between go where they went anyway.
    behind = sorted(second - surplus)
    delete_routes(index, behind)
    add_routes(index, behind)
    return missing + behind


def present_routes(index: int, version: int) -> Present:
    """Those by an interface at present. Raises OSError."""
    found = Present(set(), set(), set())
    foreign = None
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
            place = first, length, tos, number(route.get(RTA_PRIORITY))
            if protocol != RTPROT_TUNROUTER or not is_by_interface:
                foreign = place
                continue
            metrics = attributes(route.get(RTA_METRICS, b""))
            one = Route(version, first, length, number(metrics.get(RTAX_MTU)))
            found.ours.add(one)
            if foreign == place:  # the kernel lists them in the order of look-up
                found.second.add(one)
    return found
