"""TCP sockets on either side of the router.

Why an attempt to connect failed is in SO_ERROR alone, as an errno number: the ICMP error that
caused it arrives at the raw ICMP socket of the interface (router.outbound.reported).

A socket that was reset, or that both ends have ended, takes no option any more (EINVAL;
kern/uipc_socket.c:4878), while it still answers what it is asked.

A listener stands at an address of the utun. What programs of this machine send there comes out of
the utun and is written back (see `utun`), so they can connect to it too, and are reset at once, as
no flow waits for them; others cannot: the kernel takes packets for that address by the utun alone
(netinet/ip_input.c:242-278).
"""

from __future__ import annotations

import fcntl
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from router.platform.base.tcp import ANY_PORT, USUAL_HOP_LIMIT, ConnectFailure, RelayBuffer, TcpInfo
from router.platform.darwin.constants import (
    IP_TTL,
    IPV6_UNICAST_HOPS,
    IPV6_V6ONLY,
    SIOCATMARK,
    TCP_CONNECTION_INFO,
    TCP_KEEPALIVE,
    TCP_KEEPCNT,
    TCP_KEEPINTVL,
    TCP_NODELAY,
)
from router.platform.darwin.datagrams import (
    BOUND_IF,
    SET_HOP_LIMIT,
    SET_TRAFFIC_CLASS,
    OpenSocket,
)
from router.platform.darwin.tcp_state import (
    CONNECTION_INFO,
    OVER,
    ConnectionInfo,
    parse_connection_info,
    tcp_info,
)
from router.platform.families import FAMILY, LEVEL, VERSION
from router.platform.tcp_socket import take_error
from router.policy.network import Interface

BACKLOG: Final = 4096
"""Cut to kern.ipc.somaxconn, 128 by default."""
DEFAULT_V6: Final = -1
"""The system's own hop limit (netinet6/ip6_output.c:2516)."""
LEAST_IDLE: Final = 1
LONGEST_INTERVAL: Final = 32767
MOST_PROBES: Final = 127
"""TCP_KEEPALIVE and TCP_KEEPINTVL in seconds, TCP_KEEPCNT: a connection that was probed once is not
given up for that."""
OF_SERVICES: Final = range(0x8000)
"""Ports that services of this machine may listen at, now or later."""
INT: Final = 4

Ioctl = Callable[[int, int, bytes], bytes]
"""ioctl(2): descriptor, request, argument. Raises OSError."""


class DarwinTcpSockets:
    """See TcpSockets."""

    open_pipe: Callable[[], RelayBuffer] | None = None

    def __init__(self, open_socket: OpenSocket = socket.socket, ioctl: Ioctl = fcntl.ioctl) -> None:
        self._open_socket = open_socket
        self._ioctl = ioctl
        self._usual_ttl: int | None = None

    def dialling(
        self, version: int, interface: Interface, port: int, hop_limit: int, traffic_class: int
    ) -> socket.socket:
        sock = self._opened(version)
        try:
            sock.setsockopt(LEVEL[version], BOUND_IF[version], interface.index)
            if version == 4 and self._usual_ttl is None:
                self._usual_ttl = sock.getsockopt(socket.IPPROTO_IP, IP_TTL)
            if hop_limit != USUAL_HOP_LIMIT:
                sock.setsockopt(LEVEL[version], SET_HOP_LIMIT[version], hop_limit)
            if traffic_class:
                sock.setsockopt(LEVEL[version], SET_TRAFFIC_CLASS[version], traffic_class)
            if port != ANY_PORT and port not in OF_SERVICES:
                _prefer_port(sock, port)
        except OSError:
            sock.close()
            raise
        return sock

    def connected(self, sock: socket.socket) -> None:
        if VERSION[sock.family] == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_UNICAST_HOPS, DEFAULT_V6)
        elif self._usual_ttl is not None:
            sock.setsockopt(socket.IPPROTO_IP, IP_TTL, self._usual_ttl)

    def set_traffic_class(self, sock: socket.socket, traffic_class: int) -> None:
        version = VERSION[sock.family]
        sock.setsockopt(LEVEL[version], SET_TRAFFIC_CLASS[version], traffic_class)

    def failure(self, sock: socket.socket) -> ConnectFailure:
        return ConnectFailure(take_error(sock))

    def has_lost_interface(self, sock: socket.socket) -> bool:
        version = VERSION[sock.family]
        try:
            index = sock.getsockopt(LEVEL[version], BOUND_IF[version])
            socket.if_indextoname(index)
        except OSError:
            return True
        return False

    def has_ended(self, sock: socket.socket) -> bool:
        """One that was reset has no state any more (netinet/tcp_usrreq.c, tcp_ctloutput)."""
        try:
            return self._info(sock).state in OVER
        except OSError:
            return True

    def is_listening(self, address: bytes, port: int, interface: int) -> bool:
        """Nothing is: asked for packets of the direct path alone, which xnu has not."""
        del address, port, interface
        return False

    def tcp_info(self, sock: socket.socket) -> TcpInfo:
        return tcp_info(self._info(sock))

    def probe(self, sock: socket.socket) -> None:
        """A second from now, however long the peer has been silent (netinet/tcp_usrreq.c:2442)."""
        with suppress(OSError):  # of a connection that has ended
            sock.setsockopt(socket.IPPROTO_TCP, TCP_KEEPINTVL, LONGEST_INTERVAL)
            sock.setsockopt(socket.IPPROTO_TCP, TCP_KEEPCNT, MOST_PROBES)
        self.start_keepalive(sock)

    def start_keepalive(self, sock: socket.socket) -> None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            sock.setsockopt(socket.IPPROTO_TCP, TCP_KEEPALIVE, LEAST_IDLE)

    def stop_keepalive(self, sock: socket.socket) -> None:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)

    def is_at_mark(self, sock: socket.socket) -> bool:
        answer = self._ioctl(sock.fileno(), SIOCATMARK, bytes(INT))
        return bool(int.from_bytes(answer, sys.byteorder))

    def listening(self, address: bytes) -> socket.socket:
        version = 4 if len(address) == 4 else 6
        sock = self._opened(version)
        try:
            sock.bind((socket.inet_ntop(FAMILY[version], address), 0))
            sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
        return sock

    def _opened(self, version: int) -> socket.socket:
        """Raises OSError. What is accepted has the options of its listener
        (kern/uipc_socket2.c, sonewconn_internal)."""
        sock = self._open_socket(FAMILY[version], socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            if version == 6:
                sock.setsockopt(socket.IPPROTO_IPV6, IPV6_V6ONLY, 1)
        except OSError:
            sock.close()
            raise
        return sock

    def _info(self, sock: socket.socket) -> ConnectionInfo:
        """Raises OSError."""
        return parse_connection_info(
            sock.getsockopt(socket.IPPROTO_TCP, TCP_CONNECTION_INFO, CONNECTION_INFO.size)
        )


def _prefer_port(sock: socket.socket, port: int) -> None:
    """Not possible for a port that another user's program has (netinet/in_pcb.c:1058)."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", port))
