"""Sockets of an ordinary user's program, bound to an interface on every system."""

from __future__ import annotations

import socket
import sys
from typing import Final

from router.policy.network import Interface

IP_BOUND_IF: Final = 25
IPV6_BOUND_IF: Final = 125
"""netinet/in.h, netinet6/in6.h of xnu."""


def bind_to_interface(sock: socket.socket, version: int, interface: Interface) -> None:
    """What a TCP socket sends leaves by the interface, with the source that its sockets are to
    have. Raises OSError."""
    if sys.platform == "linux":  # SO_BINDTODEVICE needs no privileges since Linux 5.7
        from router.platform.linux.sockets import bind_to_device, bind_to_source  # noqa: PLC0415

        bind_to_device(sock, interface.name)
        bind_to_source(sock, version, interface)
    elif version == 4:
        sock.setsockopt(socket.IPPROTO_IP, IP_BOUND_IF, interface.index)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_BOUND_IF, interface.index)
