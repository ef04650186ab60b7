"""The present network of a Linux system, read without root and without changing anything.

Always true: what cannot be read is named in `unread`; nothing here raises for it.

Must not know: rules.
"""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Iterator
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path
from struct import Struct
from typing import Final

from router.platform.linux.dump import (
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_GETRULE,
    Attributes,
    attributes,
    dump,
    number,
    text,
)
from router.platform.linux.endpoints import EndpointMemory, read_endpoints
from router.platform.linux.own_tuns import own_tuns
from router.platform.resolver import read_dns_servers
from router.policy.network import (
    USUAL_LOOKUPS,
    Endpoint,
    Interface,
    Network,
    RouteKind,
    SystemRoute,
    TableLookup,
)

IFINFOMSG: Final = Struct("=BxHiII")
IFADDRMSG: Final = Struct("=BBBBI")
RTMSG: Final = Struct("=BBBBBBBBI")
RTNEXTHOP: Final = Struct("=HBBi")

IFF_UP: Final = 0x1
IFF_LOOPBACK: Final = 0x8
IFF_POINTOPOINT: Final = 0x10
IFF_RUNNING: Final = 0x40
IFF_NOARP: Final = 0x80
IFLA_IFNAME, IFLA_MTU, IFLA_LINKINFO, IFLA_INFO_KIND = 3, 4, 18, 1
IFA_ADDRESS, IFA_LOCAL = 1, 2
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_PREFSRC = 1, 4, 5, 6, 7
RTA_MULTIPATH, RTA_TABLE = 9, 15
RTM_F_CLONED: Final = 0x200
RTNH_F_DEAD: Final = 0x1
RTPROT_TUNROUTER: Final = 116
"""See route_batch, which needs more of the system than is needed here."""

FRA_IIFNAME, FRA_PRIORITY, FRA_FWMARK = 3, 6, 10
FRA_SUPPRESS_PREFIXLEN, FRA_TABLE = 14, 15
FRA_OIFNAME, FRA_L3MDEV, FRA_UID_RANGE = 17, 19, 20
FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE, FRA_DSCP = 22, 23, 24, 25
FRA_FWMASK: Final = 16
NOT_ASKED_OF_ALL: Final = (
    *(FRA_OIFNAME, FRA_L3MDEV, FRA_UID_RANGE),
    *(FRA_IP_PROTO, FRA_SPORT_RANGE, FRA_DPORT_RANGE, FRA_DSCP),
)
FIB_RULE_INVERT: Final = 0x2
FR_ACT_TO_TBL: Final = 1
NOTHING_IGNORED: Final = 0xFFFFFFFF

FAMILIES: Final = ((4, socket.AF_INET), (6, socket.AF_INET6))
VERSIONS: Final[dict[int, int]] = {int(family): version for version, family in FAMILIES}
KINDS: Final = {
    1: RouteKind.UNICAST,
    2: RouteKind.LOCAL,
    3: RouteKind.BROADCAST,
    4: RouteKind.LOCAL,  # anycast: an address of this machine all the same
    5: RouteKind.MULTICAST,
    6: RouteKind.BLACKHOLE,
    7: RouteKind.UNREACHABLE,
    8: RouteKind.PROHIBIT,
    9: RouteKind.THROW,
}


def present_network(
    resolv_conf: Path = Path("/etc/resolv.conf"), *, endpoints: bool = True
) -> Network:
    """The interfaces, routes, DNS servers and, if wanted, tunnel endpoints of this moment."""
    unread: list[str] = []
    interfaces: dict[str, Interface] = {}
    routes: tuple[SystemRoute, ...] = ()
    lookups: tuple[TableLookup, ...] = USUAL_LOOKUPS
    kernel_tunnels: list[str] = []
    readable = True
    try:
        with rtnetlink() as netlink:
            interfaces, kernel_tunnels = read_interfaces(netlink)
            names = {interface.index: name for name, interface in interfaces.items()}
            routes = tuple(_routes(netlink, names))
            lookups = tuple(_lookups(netlink)) or USUAL_LOOKUPS
    except OSError as error:
        unread.append(f"the interfaces and routes of this system ({error.strerror})")
        readable = False
    dns_servers = read_dns_servers(resolv_conf, unread)
    found = read_endpoints(interfaces, kernel_tunnels, unread) if endpoints else ()
    return Network(
        *(interfaces, routes, dns_servers, found, lookups, tuple(unread)),
        readable=readable,
        own_tuns=own_tuns(),
    )


def present_endpoints(memory: EndpointMemory) -> tuple[Endpoint, ...]:
    """The endpoints of VPNs of this moment, as far as they can be read or were before."""
    try:
        with rtnetlink() as netlink:
            interfaces, kernel_tunnels = read_interfaces(netlink)
    except OSError:
        return ()
    return read_endpoints(interfaces, kernel_tunnels, [], asking=memory)


def rtnetlink() -> socket.socket:
    """A socket for `dump`. Raises OSError."""
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    netlink.bind((0, 0))
    return netlink


def read_interfaces(netlink: socket.socket) -> tuple[dict[str, Interface], list[str]]:
    """By name; and the names of those that are WireGuard of the kernel."""
    addresses = _addresses(netlink)
    found, wireguard = {}, []
    for (_, _, index, flags, _), link in dump(netlink, RTM_GETLINK, socket.AF_UNSPEC, IFINFOMSG):
        name = text(link.get(IFLA_IFNAME))
        found[name] = Interface(
            name,
            index,
            bool(flags & IFF_UP and flags & IFF_RUNNING),
            number(link.get(IFLA_MTU)),
            tuple(addresses[index]),
            not flags & (IFF_NOARP | IFF_POINTOPOINT | IFF_LOOPBACK),
        )
        kind = attributes(link.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_KIND)
        if text(kind) == "wireguard":
            wireguard.append(name)
    return found, wireguard


def _addresses(netlink: socket.socket) -> dict[int, list[IPv4Interface | IPv6Interface]]:
    """By interface index. IFA_LOCAL is ours and IFA_ADDRESS the peer's on a point-to-point link;
    where there is only one of them it is ours."""
    found: dict[int, list[IPv4Interface | IPv6Interface]] = defaultdict(list)
    messages = dump(netlink, RTM_GETADDR, socket.AF_UNSPEC, IFADDRMSG)
    for (family, length, _, _, index), address in messages:
        own = address.get(IFA_LOCAL) or address.get(IFA_ADDRESS)
        if own is None or family not in VERSIONS:
            continue
        kind = IPv4Interface if VERSIONS[family] == 4 else IPv6Interface
        found[index].append(kind((own, length)))
    return found


def _routes(netlink: socket.socket, names: dict[int, str]) -> Iterator[SystemRoute]:
    for version, family in FAMILIES:
        for fields, route in dump(netlink, RTM_GETROUTE, family, RTMSG):
            _, length, _, _, table, protocol, _, kind, flags = fields
            if flags & (RTM_F_CLONED | RTNH_F_DEAD) or kind not in KINDS:
                continue
            hop = first_hop(route)
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


def first_hop(route: Attributes) -> Attributes:
    """The attributes that name interface and gateway; of a multipath route, of its first hop."""
    hops = route.get(RTA_MULTIPATH)
    if hops is None or len(hops) < RTNEXTHOP.size:
        return route
    length, _, _, index = RTNEXTHOP.unpack_from(hops)
    hop = attributes(hops[RTNEXTHOP.size : length])
    hop[RTA_OIF] = index.to_bytes(4, "little" if RTNEXTHOP.pack(1, 0, 0, 0)[0] else "big")
    return hop


def _lookups(netlink: socket.socket) -> Iterator[TableLookup]:
    """The rules that an ordinary packet meets, in their order."""
    for version, family in FAMILIES:
        found = []
        for fields, rule in dump(netlink, RTM_GETRULE, family, RTMSG):
            _, to_length, from_length, tos, table, _, _, action, flags = fields
            selects = bool(to_length or from_length or tos)
            ordinary = not selects and _meets_ordinary(rule)
            if action != FR_ACT_TO_TBL or ordinary == bool(flags & FIB_RULE_INVERT):
                continue
            ignored = number(rule.get(FRA_SUPPRESS_PREFIXLEN), NOTHING_IGNORED)
            found.append(
                TableLookup(
                    version,
                    number(rule.get(FRA_PRIORITY)),
                    number(rule.get(FRA_TABLE), table),
                    -1 if ignored == NOTHING_IGNORED else ignored,
                )
            )
        yield from sorted(found, key=lambda lookup: lookup.priority)


def _meets_ordinary(rule: Attributes) -> bool:
    """Whether the attributes of a rule fit a packet of this machine without a mark."""
    if any(selector in rule for selector in NOT_ASKED_OF_ALL):
        return False
    if FRA_IIFNAME in rule and text(rule[FRA_IIFNAME]) != "lo":
        return False
    return not number(rule.get(FRA_FWMARK))
