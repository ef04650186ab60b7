"""Routes and rules of the kernel, of all tables and of every program.

Must not know: which of them the router needs.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
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
    FRA_SRC,
    FRA_SUPPRESS_PREFIXLEN,
    FRA_TABLE,
    FRA_UID_RANGE,
    NETLINK_GET_STRICT_CHK,
    NHA_GATEWAY,
    NHA_GROUP,
    NHA_ID,
    NHA_OIF,
    RTA_DST,
    RTA_GATEWAY,
    RTA_MULTIPATH,
    RTA_NH_ID,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTA_SRC,
    RTA_TABLE,
    RTM_F_CLONED,
    RTM_GETNEXTHOP,
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
    SOL_NETLINK,
)
from router.platform.linux.netlink.dump import dump
from router.platform.linux.netlink.messages import (
    NEXTHOP_GRP,
    NHMSG,
    RTMSG,
    RTNEXTHOP,
    U32_ATTRIBUTE,
    Attributes,
    aligned,
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


SourcePrefix = tuple[int, int, int]
"""IP version, first address, length."""


class Hop(NamedTuple):
    """A next hop: the index of its interface, and its gateway as packed address."""

    interface: int
    gateway: bytes | None


NO_HOP: Final = Hop(0, None)


def read_routes(
    netlink: socket.socket,
    names: dict[int, str],
    interface: int | None = None,
    versions: Container[int] = FAMILY,
) -> Iterator[SystemRoute]:
    """All routes of these families, or those by the interface of that index, without those for
    some sources only. `names`: of interfaces, by index.

    Raises OSError."""
    nexthops = _nexthops(netlink)
    wanted = b"" if interface is None else _by_interface(netlink, interface)
    for version, family in FAMILY.items():
        if version not in versions:
            continue
        for fields, route in dump(netlink, RTM_GETROUTE, family, RTMSG, wanted):
            _, length, source_length, _, table, protocol, _, kind, flags = fields
            if flags & NOT_USED or source_length or kind not in KINDS:
                continue
            hop, source = _hop(route, nexthops), route.get(RTA_PREFSRC)
            if interface not in (None, hop.interface):
                continue
            yield SystemRoute(
                version,
                int.from_bytes(route.get(RTA_DST, b""), "big"),
                length,
                names.get(hop.interface, ""),
                int.from_bytes(hop.gateway, "big") if hop.gateway else None,
                number(route.get(RTA_PRIORITY)),
                number(route.get(RTA_TABLE), table),
                protocol == RTPROT_TUNROUTER,
                KINDS[kind],
                int.from_bytes(source, "big") if source else None,
            )


def source_routes(
    netlink: socket.socket, interface: int | None = None
) -> dict[int, list[SourcePrefix]]:
    """By the index of the interface the prefixes for which alone it has routes (`from`), which only
    IPv6 knows. `interface`: look at its routes alone. Raises OSError."""
    found: dict[int, list[SourcePrefix]] = defaultdict(list)
    wanted = b"" if interface is None else _by_interface(netlink, interface)
    for fields, route in dump(netlink, RTM_GETROUTE, socket.AF_INET6, RTMSG, wanted):
        length = fields[2]
        if length and not fields[8] & NOT_USED:
            first = int.from_bytes(route.get(RTA_SRC, b""), "big")
            found[_hop(route, {}).interface].append((6, first, length))
    return found


def _by_interface(netlink: socket.socket, interface: int) -> bytes:
    """The attribute by which the kernel selects the routes of a dump."""
    with contextlib.suppress(OSError):  # an older kernel lists more
        netlink.setsockopt(SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1)
    return U32_ATTRIBUTE.pack(U32_ATTRIBUTE.size, RTA_OIF, interface)


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


def source_prefixes(netlink: socket.socket) -> Iterator[SourcePrefix]:
    """What rules of the system look at as the source. Raises OSError."""
    for version, family in FAMILY.items():
        for fields, rule in dump(netlink, RTM_GETRULE, family, RTMSG):
            _, _, length, *_ = fields
            if length:
                yield version, int.from_bytes(rule.get(FRA_SRC, b""), "big"), length


def _matches_ordinary(rule: Attributes) -> bool:
    """Whether the attributes of a rule match a packet of this machine without a mark."""
    if any(selector in rule for selector in SELECTORS):
        return False
    if FRA_IIFNAME in rule and text(rule[FRA_IIFNAME]) != "lo":
        return False
    return not number(rule.get(FRA_FWMARK))


def _hop(route: Attributes, nexthops: Mapping[int, Hop]) -> Hop:
    """The first one that the kernel can use. Where a system gives routes by nexthop objects their
    identifier alone (nexthop_compat_mode=0), that of the object."""
    if RTA_MULTIPATH in route:
        return _of_several(route[RTA_MULTIPATH])
    if RTA_OIF not in route and RTA_NH_ID in route:
        return nexthops.get(number(route[RTA_NH_ID]), NO_HOP)
    return Hop(number(route.get(RTA_OIF)), route.get(RTA_GATEWAY))


def _of_several(hops: bytes) -> Hop:
    first = NO_HOP
    while len(hops) >= RTNEXTHOP.size:
        length, flags, _, index = RTNEXTHOP.unpack_from(hops)
        hop = Hop(index, attributes(hops[RTNEXTHOP.size : length]).get(RTA_GATEWAY))
        if not flags & RTNH_F_DEAD:
            return hop
        first = first if first.interface else hop
        hops = hops[max(aligned(length), RTNEXTHOP.size) :]
    return first


def _nexthops(netlink: socket.socket) -> dict[int, Hop]:
    """Nexthop objects by identifier, of a group its first member; none on kernels before 5.3."""
    found: dict[int, Hop] = {}
    groups = {}
    try:
        for _, nexthop in dump(netlink, RTM_GETNEXTHOP, socket.AF_UNSPEC, NHMSG):
            identifier = number(nexthop.get(NHA_ID))
            if NHA_GROUP in nexthop:
                groups[identifier] = nexthop[NHA_GROUP]
            else:
                found[identifier] = Hop(number(nexthop.get(NHA_OIF)), nexthop.get(NHA_GATEWAY))
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
    for identifier, members in groups.items():
        first, *_ = NEXTHOP_GRP.unpack_from(members)
        found[identifier] = found.get(first, NO_HOP)
    return found
