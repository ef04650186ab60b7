"""Reports of changed nf_tables rules and IPsec policies (NETLINK_NETFILTER, NETLINK_XFRM).

The guard opens the sockets, since only CAP_NET_ADMIN may join their groups. A request by one of
them would need that capability of the sender as well, so the router can only receive. ip_tables
reports no changes.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from typing import Final

from router.platform.linux.changes import discard_reports
from router.platform.linux.host_rules import constants as nf
from router.platform.linux.only_on_linux import (
    AF_NETLINK,
    EPOLLIN,
    NETLINK_XFRM,
    SOCK_NONBLOCK,
    epoll,
)

GROUPS: Final = (
    (nf.NETLINK_NETFILTER, nf.NFNLGRP_NFTABLES),
    (NETLINK_XFRM, nf.XFRMNLGRP_POLICY),
)


def report_sockets() -> list[socket.socket]:
    """One for each of the two that the kernel has. Raises OSError."""
    opened: list[socket.socket] = []
    try:
        for protocol, group in GROUPS:
            opened += _report_socket(protocol, group)
    except OSError:
        for sock in opened:
            sock.close()
        raise
    return opened


def _report_socket(protocol: int, group: int) -> list[socket.socket]:
    """None where the kernel lacks the protocol. Raises OSError."""
    try:
        sock = socket.socket(AF_NETLINK, socket.SOCK_RAW | SOCK_NONBLOCK, protocol)
    except OSError as error:
        if error.errno == errno.EPROTONOSUPPORT:
            return []
        raise
    try:
        sock.bind((0, 1 << group - 1))
    except OSError:
        sock.close()
        raise
    return [sock]


class HostRuleChanges:
    """See Changes. Owns the sockets."""

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        self._sockets = sockets
        self._epoll = epoll()
        for sock in sockets:
            self._epoll.register(sock, EPOLLIN)

    def fileno(self) -> int:
        """That of an epoll, which is readable when any of the sockets is (epoll(7))."""
        return self._epoll.fileno()

    def drain(self) -> None:
        """What is left makes it readable again. Raises OSError."""
        for sock in self._sockets:
            discard_reports(sock)

    def close(self) -> None:
        self._epoll.close()
        for sock in self._sockets:
            sock.close()
