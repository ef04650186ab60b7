"""Interfaces, their addresses and default routes, by rtnetlink; and word of their changes."""

from __future__ import annotations

import socket
from collections import defaultdict
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from typing import Any, Final

from pyroute2 import IPRoute

from router.policy.network import Interface

IFF_UP: Final = 0x1
IFF_RUNNING: Final = 0x40
RT_TABLE_MAIN: Final = 254
RTN_UNICAST: Final = 1
DEFAULT_METRIC: Final = {4: 0, 6: 1024}

RTMGRP_LINK: Final = 0x1
RTMGRP_IPV4_IFADDR: Final = 0x10
RTMGRP_IPV4_ROUTE: Final = 0x40
RTMGRP_IPV6_IFADDR: Final = 0x100
RTMGRP_IPV6_ROUTE: Final = 0x400
GROUPS: Final = (
    RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE
)


def family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6


class LinuxInterfaces:
    """See Interfaces."""

    def __init__(self, netlink: IPRoute) -> None:
        self._netlink = netlink

    def all(self) -> dict[str, Interface]:
        addresses = self._addresses()
        found = {}
        for link in self._netlink.get_links():
            flags = link["flags"]
            interface = Interface(
                name=link.get("ifname"),
                index=link["index"],
                up=bool(flags & IFF_UP and flags & IFF_RUNNING),
                mtu=link.get("mtu"),
                addresses=tuple(addresses[link["index"]]),
            )
            found[interface.name] = interface
        return found

    def holding_default(self, version: int, apart_from: str) -> str | None:
        names = {interface.index: name for name, interface in self.all().items()}
        best: tuple[int, str] | None = None
        for route in default_routes(self._netlink, version):
            if route.get("table") != RT_TABLE_MAIN:
                continue
            name = names.get(outgoing_index(route) or 0)
            metric = route.get("priority") or 0
            if name is None or name == apart_from:
                continue
            if best is None or metric < best[0]:
                best = (metric, name)
        return best[1] if best else None

    def _addresses(self) -> dict[int, list[IPv4Interface | IPv6Interface]]:
        """By interface index. IFA_LOCAL is ours and IFA_ADDRESS the peer's on a point-to-point
        link; where there is only one of them it is ours."""
        found: dict[int, list[IPv4Interface | IPv6Interface]] = defaultdict(list)
        for message in self._netlink.get_addr():
            address = message.get("local") or message.get("address")
            found[message["index"]].append(ip_interface(f"{address}/{message['prefixlen']}"))
        return found


def default_routes(netlink: IPRoute, version: int) -> list[Any]:
    """The unicast default routes of a family in all tables."""
    return [
        route
        for route in netlink.get_routes(family=family(version))
        if route["dst_len"] == 0 and route["type"] == RTN_UNICAST
    ]


def outgoing_index(route: Any) -> int | None:
    """The interface index of a route; of a multipath route, that of its first hop."""
    index: int | None = route.get("oif")
    hops = route.get("multipath")
    if index is None and hops:
        index = hops[0]["oif"]
    return index


class LinuxChanges:
    """See Changes. Only the fact that something was reported counts: the state is read anew, so
    an overrun (ENOBUFS) loses nothing."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, GROUPS))

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> None:
        while True:
            try:
                self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError:
                continue

    def close(self) -> None:
        self._socket.close()
