"""Notifications of changed interfaces, addresses, routes, nexthops and rules (rtnetlink(7)).

Always true: of a route of another program its prefix and interface are reported, so that a
change that concerns no route of ours leads to no dump of hundreds of thousands. Of everything else
only the fact that it was reported counts: the state is read anew, so an overrun (ENOBUFS) loses
nothing.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Final

from router.platform.base.facts import ForeignRoute
from router.platform.families import VERSION
from router.platform.linux.netlink.constants import (
    OVERRUNS,
    RTA_DST,
    RTA_OIF,
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
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, groups))

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> list[ForeignRoute] | None:
        """What is left makes it readable again. Raises OSError."""
        found: list[ForeignRoute] | None = []
        for _ in range(MOST_REPORTS):
            try:
                datagram = self._socket.recv(65536)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno not in OVERRUNS:
                    raise
                found = None
                continue
            if found is not None:
                found = _with_routes(found, datagram)
        if found is None:
            self._others()
        return found

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


def _with_routes(found: list[ForeignRoute], datagram: bytes) -> list[ForeignRoute] | None:
    for route in _foreign_routes(datagram):
        if route is None:
            return None
        found.append(route)
    return found


def _foreign_routes(datagram: bytes) -> Iterator[ForeignRoute | None]:
    """The routes that a datagram reports; None for everything else."""
    for message in unpack_messages(datagram):
        if message.kind not in (RTM_NEWROUTE, RTM_DELROUTE):
            yield None
            continue
        family, length, by_source, _, _, protocol, _, _, flags = RTMSG.unpack_from(message.body)
        if protocol == RTPROT_TUNROUTER or by_source or family not in VERSION:
            yield None
        elif not flags & RTM_F_CLONED:
            route = attributes(message.body[RTMSG.size :])
            first = int.from_bytes(route.get(RTA_DST, b""), "big")
            yield ForeignRoute(VERSION[family], first, length, number(route.get(RTA_OIF)))
