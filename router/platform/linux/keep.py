"""The TUN's routes as they should be: what is there is read and compared with what should be, so
that nothing is done twice and nothing depends on having seen what has happened meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from router.platform.linux.dump import RTM_GETROUTE, attributes, dump, number
from router.platform.linux.present import (
    FAMILIES,
    RTA_DST,
    RTA_OIF,
    RTA_PRIORITY,
    RTA_TABLE,
    RTMSG,
    rtnetlink,
)
from router.platform.linux.route_batch import (
    RTA_METRICS,
    RTAX_MTU,
    RTPROT_TUNROUTER,
    add_routes,
    delete_routes,
    replace_routes,
)
from router.policy.capture import Route
from router.policy.network import TABLE_MAIN

IPV6: Final = 6


def keep_routes(index: int, wanted: Sequence[Route]) -> list[Route]:
    """Have exactly these routes of ours by an interface, before those of others for the same
    prefixes; the ones that were missing or came second.

    Added before others are removed. Raises OSError, PlatformError.
    """
    present, second = _our_routes(index)
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


def _our_routes(index: int) -> tuple[set[Route], set[Route]]:
    """Our routes by an interface in the main table, and those of them that come behind somebody
    else's of the same prefix and metric. Raises OSError."""
    ours: set[Route] = set()
    second: set[Route] = set()
    with rtnetlink() as netlink:
        for version, family in FAMILIES:
            foreign = None
            for fields, route in dump(netlink, RTM_GETROUTE, family, RTMSG):
                _, length, _, tos, table, protocol, _, _, _ = fields
                if number(route.get(RTA_TABLE), table) != TABLE_MAIN:
                    continue
                first = int.from_bytes(route.get(RTA_DST, b""), "big")
                place = first, length, tos, number(route.get(RTA_PRIORITY))
                if protocol != RTPROT_TUNROUTER or number(route.get(RTA_OIF)) != index:
                    foreign = place
                    continue
                metrics = attributes(route.get(RTA_METRICS, b""))
                found = Route(version, first, length, number(metrics.get(RTAX_MTU)))
                ours.add(found)
                if foreign == place:  # the kernel lists them in the order in which they are asked
                    second.add(found)
    return ours, second
