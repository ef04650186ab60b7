"""Notifications of changed interfaces, addresses, routes and rules (rtnetlink(7))."""

from __future__ import annotations

import socket
from typing import Final

from router.platform.linux.netlink.constants import (
    OVERRUNS,
    RTMGRP_IPV4_IFADDR,
    RTMGRP_IPV4_NETCONF,
    RTMGRP_IPV4_ROUTE,
    RTMGRP_IPV4_RULE,
    RTMGRP_IPV6_IFADDR,
    RTMGRP_IPV6_ROUTE,
    RTMGRP_IPV6_RULE,
    RTMGRP_LINK,
)

MOST_REPORTS: Final = 256
"""Read at a time, so that a flood of them does not starve other descriptors."""
GROUPS: Final = (
    RTMGRP_LINK
    | (RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV4_RULE | RTMGRP_IPV4_NETCONF)
    | (RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE | RTMGRP_IPV6_RULE)
)


class LinuxChanges:
    """See Changes. Only the fact that something was reported counts: the state is read anew, so
    an overrun (ENOBUFS) loses nothing."""

    def __init__(self, groups: int = GROUPS) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        self._socket.bind((0, groups))

    def fileno(self) -> int:
        return self._socket.fileno()

    def drain(self) -> None:
        """What is left makes it readable again. Raises OSError."""
        discard_reports(self._socket)

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
