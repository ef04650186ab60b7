"""Interfaces, their addresses and default routes, by rtnetlink; and word of their changes."""

from __future__ import annotations

import errno
import socket
from typing import Final, NamedTuple

from router.platform.linux.dump import RTM_GETROUTE, dump, number
from router.platform.linux.present import (
    RTA_OIF,
    RTA_PRIORITY,
    RTA_TABLE,
    RTMSG,
    RTPROT_TUNROUTER,
    first_hop,
    read_interfaces,
    rtnetlink,
)
from router.policy.network import TABLE_MAIN, Interface

RTN_UNICAST: Final = 1

RTMGRP_LINK: Final = 0x1
RTMGRP_IPV4_IFADDR: Final = 0x10
RTMGRP_IPV4_ROUTE: Final = 0x40
RTMGRP_IPV6_IFADDR: Final = 0x100
RTMGRP_IPV6_ROUTE: Final = 0x400
RTMGRP_IPV4_RULE: Final = 0x80
RTMGRP_IPV6_RULE: Final = 1 << 19 - 1
RTMGRP_IPV4_NETCONF: Final = 1 << 24 - 1
"""Sysctls of interfaces, rp_filter among them."""
MOST_REPORTS: Final = 256
"""Read away at a time, so that a flood of them leaves others their turn."""
GROUPS: Final = (
    RTMGRP_LINK
    | (RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE | RTMGRP_IPV4_NETCONF)
    | (RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE | RTMGRP_IPV6_RULE)
)


OVERRUNS: Final = frozenset({errno.ENOBUFS, errno.ENOMEM})
"""Some report was lost."""


def family(version: int) -> int:
    return socket.AF_INET if version == 4 else socket.AF_INET6


class LinuxInterfaces:
    """See Interfaces."""

    def all(self) -> dict[str, Interface]:
        with rtnetlink() as netlink:
            return read_interfaces(netlink)[0]

    def holding_default(self, version: int, apart_from: str) -> str | None:
        names = {interface.index: name for name, interface in self.all().items()}
        best: tuple[int, str] | None = None
        for route in default_routes(version):
            name = names.get(route.interface)
            if route.table != TABLE_MAIN or name is None or name == apart_from:
                continue
            if best is None or route.metric < best[0]:
                best = (route.metric, name)
        return best[1] if best else None


class DefaultRoute(NamedTuple):
    """One default route; of a multipath route, its first hop."""

    interface: int
    """Its index."""
    table: int
    metric: int


def default_routes(version: int) -> list[DefaultRoute]:
    """The unicast default routes of a family in all tables, without ours. Raises OSError."""
    found = []
    with rtnetlink() as netlink:
        for fields, route in dump(netlink, RTM_GETROUTE, family(version), RTMSG):
            _, length, _, _, table, protocol, _, kind, _ = fields
            if length or kind != RTN_UNICAST or protocol == RTPROT_TUNROUTER:
                continue
            found.append(
                DefaultRoute(
                    number(first_hop(route).get(RTA_OIF)),
                    number(route.get(RTA_TABLE), table),
                    number(route.get(RTA_PRIORITY)),
                )
            )
    return found


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
        """What is left after a while makes it readable again. Raises OSError."""
        for _ in range(MOST_REPORTS):
            try:
                self._socket.recv(65536)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in OVERRUNS:
                    raise

    def close(self) -> None:
        self._socket.close()
