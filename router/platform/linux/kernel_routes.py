"""Routes and rules of the kernel, of all tables and of every program.

Must not know: which of them the router needs.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

from router.platform.families import FAMILY
from router.platform.linux.netlink.constants import (
    FIB_RULE_INVERT,
    FR_ACT_TO_TBL,
    FRA_DPORT_RANGE,
    FRA_DSCP,
    FRA_FWMARK,
    FRA_IIFNAME,
    FRA_IP_PROTO,
    FRA_L3MDEV,
    FRA_OIFNAME,
    FRA_PRIORITY,
    FRA_SPORT_RANGE,
    FRA_SUPPRESS_PREFIXLEN,
    FRA_TABLE,
    FRA_UID_RANGE,
    RTA_DST,
    RTA_GATEWAY,
    RTA_MULTIPATH,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTA_TABLE,
    RTM_F_CLONED,
    RTM_GETROUTE,
    RTM_GETRULE,
    RTN_ANYCAST,
    RTN_BLACKHOLE,
    RTN_BROADCAST,
    RTN_LOCAL,
    RTN_MULTICAST,
    RTN_PROHIBIT,
    RTN_THROW,
    RTN_UNICAST,
    RTN_UNREACHABLE,
    RTNH_F_DEAD,
    RTPROT_TUNROUTER,
)
from router.platform.linux.netlink.dump import dump, rtnetlink
from router.platform.linux.netlink.messages import (
    RTMSG,
    RTNEXTHOP,
    Attributes,
    attributes,
    number,
    text,
)
from router.policy.network import RouteKind, SystemRoute, TableLookup

KINDS: Final = {
    RTN_UNICAST: RouteKind.UNICAST,
    RTN_LOCAL: RouteKind.LOCAL,
    RTN_BROADCAST: RouteKind.BROADCAST,
    RTN_ANYCAST: RouteKind.LOCAL,  # an address of this machine all the same
    RTN_MULTICAST: RouteKind.MULTICAST,
    RTN_BLACKHOLE: RouteKind.BLACKHOLE,
    RTN_UNREACHABLE: RouteKind.UNREACHABLE,
    RTN_PROHIBIT: RouteKind.PROHIBIT,
    RTN_THROW: RouteKind.THROW,
}
SELECTORS: Final = (
    *(FRA_OIFNAME, FRA_L3MDEV, FRA_UID_RANGE),
    *(FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE, FRA_DSCP),
)
"""A rule with one of them is not for every packet."""
NOTHING_SUPPRESSED: Final = 0xFFFFFFFF


NOT_USED: Final = RTM_F_CLONED | RTNH_F_DEAD
"""Flags of entries that the kernel takes for no packet: a cached one, one whose link is down."""


class DefaultRoute(NamedTuple):
    """One default route; of a multipath route, its first hop."""

    interface: int
    """Its index."""
    table: int
    metric: int


def read_routes(netlink: socket.socket, names: dict[int, str]) -> Iterator[SystemRoute]:
    """`names`: of interfaces, by index. Raises OSError."""
    for version, family in FAMILY.items():
        for fields, route in dump(netlink, RTM_GETROUTE, family, RTMSG):
            _, length, _, _, table, protocol, _, kind, flags = fields
            if flags & NOT_USED or kind not in KINDS:
                continue
            hop = _first_hop(route)
            gateway, source = hop.get(RTA_GATEWAY), route.get(RTA_PREFSRC)
            yield SystemRoute(
                version,
                int.from_bytes(route.get(RTA_DST, b""), "big"),
                length,
                names.get(number(hop.get(RTA_OIF)), ""),
                int.from_bytes(gateway, "big") if gateway else None,
                number(route.get(RTA_PRIORITY)),
                number(route.get(RTA_TABLE), table),
                protocol == RTPROT_TUNROUTER,
                KINDS[kind],
                int.from_bytes(source, "big") if source else None,
            )


def default_routes(version: int) -> list[DefaultRoute]:
    """The unicast default routes of a family in all tables, without the router's own. Raises
    OSError."""
    found = []
    with rtnetlink() as netlink:
        for fields, route in dump(netlink, RTM_GETROUTE, FAMILY[version], RTMSG):
            _, length, _, _, table, protocol, _, kind, flags = fields
            ours = protocol == RTPROT_TUNROUTER
            if flags & NOT_USED or length or kind != RTN_UNICAST or ours:
                continue
            found.append(
                DefaultRoute(
                    number(_first_hop(route).get(RTA_OIF)),
                    number(route.get(RTA_TABLE), table),
                    number(route.get(RTA_PRIORITY)),
                )
            )
    return found


def read_lookups(netlink: socket.socket) -> Iterator[TableLookup]:
    """The rules that an ordinary packet meets, in their order. Raises OSError."""
    for version, family in FAMILY.items():
        found = []
        for fields, rule in dump(netlink, RTM_GETRULE, family, RTMSG):
            _, to_length, from_length, tos, table, _, _, action, flags = fields
            selects = bool(to_length or from_length or tos)
            ordinary = not selects and _matches_ordinary(rule)
            if action != FR_ACT_TO_TBL or ordinary == bool(flags & FIB_RULE_INVERT):
                continue
            suppressed = number(rule.get(FRA_SUPPRESS_PREFIXLEN), NOTHING_SUPPRESSED)
            found.append(
                TableLookup(
                    version,
                    number(rule.get(FRA_PRIORITY)),
                    number(rule.get(FRA_TABLE), table),
                    -1 if suppressed == NOTHING_SUPPRESSED else suppressed,
                )
            )
        yield from sorted(found, key=lambda lookup: lookup.priority)


def _matches_ordinary(rule: Attributes) -> bool:
    """Whether the attributes of a rule match a packet of this machine without a mark."""
    if any(selector in rule for selector in SELECTORS):
        return False
    if FRA_IIFNAME in rule and text(rule[FRA_IIFNAME]) != "lo":
        return False
    return not number(rule.get(FRA_FWMARK))


def _first_hop(route: Attributes) -> Attributes:
    """The attributes that name interface and gateway; of a multipath route, of its first hop."""
    hops = route.get(RTA_MULTIPATH)
    if hops is None or len(hops) < RTNEXTHOP.size:
        return route
    length, _, _, index = RTNEXTHOP.unpack_from(hops)
    hop = attributes(hops[RTNEXTHOP.size : length])
    hop[RTA_OIF] = index.to_bytes(4, sys.byteorder)
    return hop
