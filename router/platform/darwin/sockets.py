"""Sockets of outbounds: raw ICMP by the guard, which alone may open it, the others of our own.

xnu has no packet socket, and no raw IPv6 socket that takes headers (netinet6/raw_ip6.c): what would
leave unchanged does not leave, and is refused.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from typing import Final, Protocol

from router.platform.base.sockets import Done, FrameSocket
from router.platform.darwin.datagrams import DarwinDatagramSocket, OpenSocket, udp_socket
from router.platform.darwin.raw_icmp import RawIcmpSocket, RawIcmpv6Socket
from router.policy.network import Interface

ICMP: Final = {
    4: (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    6: (socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
}


class OpensIcmp(Protocol):
    """The part of GuardClient that is needed here."""

    def open_socket(
        self, operation: str, /, *, version: int, name: str, index: int
    ) -> socket.socket:
        """`icmp_socket`: that of router.platform.darwin.icmp_socket. Raises PlatformError,
        OSError."""
        ...


class DarwinSockets:
    """See Sockets."""

    reports_errors = False
    raw_kinds: Mapping[int, type[RawIcmpSocket | RawIcmpv6Socket]] = {
        4: RawIcmpSocket,
        6: RawIcmpv6Socket,
    }

    def __init__(self, guard: OpensIcmp, open_socket: OpenSocket = socket.socket) -> None:
        self._guard = guard
        self._open_socket = open_socket

    def icmp_socket(self, version: int, interface: Interface, echo_ids: range) -> socket.socket:
        opened = self._guard.open_socket(
            "icmp_socket", version=version, name=interface.name, index=interface.index
        )
        sock = self.raw_kinds[version](*ICMP[version], fileno=opened.detach())
        sock.interface = interface.index
        sock.echo_ids = echo_ids
        return sock

    def udp_socket(
        self, version: int, interface: Interface, source: bytes, port: int
    ) -> DarwinDatagramSocket:
        return udp_socket(self._open_socket, version, interface, source, port)

    def keep_ready(self) -> None:
        """Nothing to do: any user may open UDP sockets with these buffers."""

    def raw_socket(
        self, version: int, interface: Interface, address: str, done: Done[socket.socket]
    ) -> None:
        del version, interface, address, done
        raise OSError(errno.EPROTONOSUPPORT, os.strerror(errno.EPROTONOSUPPORT))

    def frame_socket(
        self, version: int, interface: Interface, source: bytes, done: Done[FrameSocket | None]
    ) -> None:
        del version, interface, source
        done(None)

    def close(self) -> None:
        """None is kept."""
