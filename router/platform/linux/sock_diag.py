"""Requests about sockets (sock_diag(7), linux/inet_diag.h)."""

from __future__ import annotations

import socket
from struct import Struct
from typing import Final

from router.platform.families import FAMILY
from router.platform.linux.only_on_linux import AF_NETLINK, SOCK_NONBLOCK

NETLINK_SOCK_DIAG: Final = 4
SOCK_DIAG_BY_FAMILY: Final = 20
REQUEST: Final = Struct("=BBBxI")
"""The beginning of struct inet_diag_req_v2: family, protocol, extensions, states."""
ANY_COOKIE: Final = b"\xff" * 8
ANY_SOCKET: Final = bytes(40) + ANY_COOKIE
"""A struct inet_diag_sockid that a dump compares nothing with."""


def pack_request(version: int, protocol: int, extensions: int, states: int, sockid: bytes) -> bytes:
    """struct inet_diag_req_v2. extensions: a bit for each INET_DIAG_..., from the first; states: a
    bit for each TCP_... of net/tcp_states.h."""
    return REQUEST.pack(FAMILY[version], protocol, extensions, states) + sockid


def sock_diag() -> socket.socket:
    """A socket for requests, non-blocking: the kernel answers while it takes the request, and the
    rest of a dump while it is read. Raises OSError."""
    kind = socket.SOCK_RAW | SOCK_NONBLOCK
    return socket.socket(AF_NETLINK, kind, NETLINK_SOCK_DIAG)
