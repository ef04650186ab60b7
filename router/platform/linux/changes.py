"""Notifications of changed interfaces, addresses, routes, nexthops and rules (rtnetlink(7)).

Always true: of a route of another program its prefix and interface are reported, so that a
change that concerns no route of ours leads to no dump of hundreds of thousands. Of everything else
only the fact that it was reported counts, and whether it removed an address: the state is read
anew, so an overrun (ENOBUFS) loses nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Final

from router.platform.base.facts import ForeignRoute, Reported
from router.platform.families import VERSION
from router.platform.linux.netlink.constants import (
    OVERRUNS,
    RTA_DST,
    RTA_OIF,
    RTM_DELADDR,
    RTM_DELROUTE,
    RTM_F_CLONED,
    RTM_NEWROUTE,
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_NETCONF,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV4_RULE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_IPV6_RULE,
    RTMGRP_LINK,
    RTMGRP_NEXTHOP,
    RTPROT_TUNROUTER,
)
from router.platform.linux.netlink.messages import RTMSG, attributes, number, unpack_messages
from router.platform.linux.only_on_linux import AF_NETLINK, NETLINK_ROUTE, SOCK_NONBLOCK

MOST_REPORTS: Final = 256
"""Read at a time, so that a flood of them does not starve other descriptors."""
GROUPS: Final = (
    RTMGRP_LINK
    | (RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE | RTMGRP_IPV4_NETCONF)
    | (RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE | RTMGRP_IPV6_RULE)
    | RTMGRP_NEXTHOP
)


class LinuxChanges:
    """See Changes.

    others: called when anything but routes of other programs for all sources may have changed.
    groups: bits of sockaddr_nl.nl_groups.
    """

    def __init__(self, others: Callable[[], None], groups: int = GROUPS) -> None:
        self._others = others
        self._socket = socket.socket(AF_NETLINK, socket.SOCK_RAW | SOCK_NONBLOCK, NETLINK_ROUTE)
        self._socket.bind((0, groups))

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> Reported:
        """What is left makes it readable again. Raises OSError."""
        reports = _Reports()
        for _ in range(MOST_REPORTS):
            try:
                datagram = self._socket.recv(65536)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno not in OVERRUNS:
                    raise
                reports.routes, reports.address_removed = None, True
                continue
            reports.add(datagram)
        if reports.routes is None:
            self._others()
        return Reported(reports.routes, reports.address_removed)

    def close(self) -> None:
        self._socket.close()


def discard_reports(netlink: socket.socket) -> None:
    """Read and discard what a non-blocking netlink socket has received, a bounded number of
    reports. Raises OSError."""
    for _ in range(MOST_REPORTS):
        try:
            netlink.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno not in OVERRUNS:
                raise


class _Reports:
    """What several datagrams report; see Reported."""

    def __init__(self) -> None:
        self.routes: list[ForeignRoute] | None = []
        self.address_removed = False

    def add(self, datagram: bytes) -> None:
        for message in unpack_messages(datagram):
            self.address_removed |= message.kind == RTM_DELADDR
            if message.kind not in (RTM_NEWROUTE, RTM_DELROUTE):
                self.routes = None
            elif self.routes is not None:
                self._add_route(self.routes, message.body)

    def _add_route(self, routes: list[ForeignRoute], body: bytes) -> None:
        family, length, by_source, _, _, protocol, _, _, flags = RTMSG.unpack_from(body)
        if protocol == RTPROT_TUNROUTER or by_source or family not in VERSION:
            self.routes = None
        elif not flags & RTM_F_CLONED:
            route = attributes(body[RTMSG.size :])
            first = int.from_bytes(route.get(RTA_DST, b""), "big")
            routes.append(ForeignRoute(VERSION[family], first, length, number(route.get(RTA_OIF))))
