"""Sockets of an ordinary user's program, bound to an interface on every system."""

from __future__ import annotations

import socket
import sys

from router.policy.network import Interface


def bind_to_interface(sock: socket.socket, version: int, interface: Interface) -> None:
    """What a TCP socket sends leaves by the interface, with the source that its sockets are to
    have. Raises OSError."""
    if sys.platform == "linux":  # SO_BINDTODEVICE needs no privileges since Linux 5.7
        from router.platform.linux.sockets import bind_to_device, bind_to_source  # noqa: PLC0415

        bind_to_device(sock, interface.name)
        bind_to_source(sock, version, interface)
    else:
        from router.platform.darwin.constants import IP_BOUND_IF, IPV6_BOUND_IF  # noqa: PLC0415

        level = socket.IPPROTO_IP if version == 4 else socket.IPPROTO_IPV6
        option = IP_BOUND_IF if version == 4 else IPV6_BOUND_IF
        sock.setsockopt(level, option, interface.index)
