"""Interfaces, their addresses, and the interface of the default route, by rtnetlink."""

from __future__ import annotations

import contextlib
import socket
from collections import defaultdict
from collections.abc import Mapping
from ipaddress import IPv4Interface, IPv6Interface

from router.platform.families import VERSION
from router.platform.linux.kernel_routes import SourcePrefix, source_routes
from router.platform.linux.netlink.constants import (
    IFA_ADDRESS,
    IFA_LOCAL,
    IFF_LOOPBACK,
    IFF_NOARP,
    IFF_POINTOPOINT,
    IFF_RUNNING,
    IFF_UP,
    IFLA_ALT_IFNAME,
    IFLA_IFNAME,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MTU,
    IFLA_PROP_LIST,
    RTM_GETADDR,
    RTM_GETLINK,
)
from router.platform.linux.netlink.dump import dump, rtnetlink
from router.platform.linux.netlink.messages import (
    IFADDRMSG,
    IFINFOMSG,
    Attributes,
    attributes,
    each_attribute,
    interface_name,
    number,
    text,
)
from router.platform.linux.own_tuns import own_tuns
from router.platform.linux.sources import with_sources
from router.platform.linux.ways import LinuxWays
from router.policy.network import Interface


class LinuxInterfaces:
    """See Interfaces.

    Always true: routes for some sources only are read once until `forget` is called.
    """

    def __init__(self) -> None:
        self._by_source: dict[int, list[SourcePrefix]] = {}

    def forget(self) -> None:
        """Rules, interfaces, or routes for some sources only may have changed."""
        self._by_source.clear()

    def all(self) -> dict[str, Interface]:
        with rtnetlink() as netlink:
            return read_interfaces(netlink)[0]

    def with_sources(self, interface: Interface) -> Interface:
        index = interface.index
        if index not in self._by_source:
            with rtnetlink() as netlink:
                self._by_source[index] = source_routes(netlink, index).get(index, [])
        return with_sources(interface, self._by_source[index])

    def holding_default(
        self, version: int, present: Mapping[str, Interface], apart_from: str
    ) -> str | None:
        ways = LinuxWays(present.values(), own_tuns() | {apart_from})
        with contextlib.closing(ways):
            return ways.default_holder(version)


def read_interfaces(netlink: socket.socket) -> tuple[dict[str, Interface], list[str]]:
    """By name; and the names of those that are WireGuard of the kernel. Raises OSError."""
    addresses = _addresses(netlink)
    found, wireguard = {}, []
    for (_, _, index, flags, _), link in dump(netlink, RTM_GETLINK, socket.AF_UNSPEC, IFINFOMSG):
        name = interface_name(link.get(IFLA_IFNAME))
        found[name] = Interface(
            name,
            index,
            bool(flags & IFF_UP and flags & IFF_RUNNING),
            number(link.get(IFLA_MTU)),
            tuple(addresses[index]),
            not flags & (IFF_NOARP | IFF_POINTOPOINT | IFF_LOOPBACK),
            _alternative_names(link),
        )
        kind = attributes(link.get(IFLA_LINKINFO, b"")).get(IFLA_INFO_KIND)
        if text(kind) == "wireguard":
            wireguard.append(name)
    return found, wireguard


def _alternative_names(link: Attributes) -> tuple[str, ...]:
    return tuple(
        interface_name(name)
        for kind, name in each_attribute(link.get(IFLA_PROP_LIST, b""))
        if kind == IFLA_ALT_IFNAME
    )


def _addresses(netlink: socket.socket) -> dict[int, list[IPv4Interface | IPv6Interface]]:
    """By interface index. On a point-to-point link IFA_LOCAL is the interface's own address and
    IFA_ADDRESS the peer's; where there is only one of them it is the interface's own."""
    found: dict[int, list[IPv4Interface | IPv6Interface]] = defaultdict(list)
    messages = dump(netlink, RTM_GETADDR, socket.AF_UNSPEC, IFADDRMSG)
    for (family, length, _, _, index), address in messages:
        own = address.get(IFA_LOCAL) or address.get(IFA_ADDRESS)
        if own is None or family not in VERSION:
            continue
        kind = IPv4Interface if VERSION[family] == 4 else IPv6Interface
        found[index].append(kind((own, length)))
    return found
