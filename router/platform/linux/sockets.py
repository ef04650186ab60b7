"""Raw sockets that leave by one interface only (socket(7), raw(7), ipv6(7)).

SO_BINDTODEVICE keeps the router's own packets out of its TUN: the route look-up of a bound socket
skips routes by other interfaces. Binding to a source address does not.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from router.platform.base.facts import NetworkPath
from router.platform.linux import icmp_filter
from router.platform.linux.only_on_linux import AF_PACKET, SO_BINDTODEVICE, SOCK_NONBLOCK
from router.policy.network import Interface

BUFFER: Final = 4 << 20
"""Bytes; about a second of pings at the highest rate that is reached."""
SMALLEST_MTU: Final = {4: 576, 6: 1280}
"""RFC 1122, section 3.3.3; RFC 8200, section 5."""
DIRECT_BUFFER: Final = 1 << 18
"""Bytes that wait in a slow outbound at most, so that a ping does not wait behind a second's worth
of an upload; what is more is dropped, as by a full queue."""
FREEBIND: Final = {4: (socket.IPPROTO_IP, 15), 6: (socket.IPPROTO_IPV6, 78)}
"""IP_FREEBIND, IPV6_FREEBIND (linux/in.h, linux/in6.h)."""
SOL_PACKET: Final = 263
PACKET_VNET_HDR: Final = 15
DISCARD_PORT: Final = 9
IP_MTU: Final = 14
IP_BIND_ADDRESS_NO_PORT: Final = 24
IPV6_MTU: Final = 24
SO_SNDBUFFORCE: Final = 32
SO_RCVBUFFORCE: Final = 33


def bind_to_device(sock: socket.socket, name: str) -> None:
    """Raises OSError."""
    sock.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, name.encode() + b"\0")


def bind_to_source(sock: socket.socket, version: int, interface: Interface, port: int = 0) -> None:
    """To the address that the interface's sockets are to have, if there is one, else to none; a TCP
    socket gets its port when it connects. Raises OSError."""
    source = interface.bound_source(version)
    if source is not None and sock.type == socket.SOCK_STREAM:
        sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    if source is not None or port:
        sock.bind((str(source or ""), port))


def icmp_socket(version: int, device: str, echo_ids: range) -> socket.socket:
    """See Sockets.icmp_socket."""
    if version == 4:
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    else:
        sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    try:
        icmp_filter.attach(sock, icmp_filter.program(version, echo_ids))
        sock.setblocking(False)
        bind_to_device(sock, device)
        enlarge_buffers(sock, BUFFER)
        if version == 4:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    except OSError:
        sock.close()
        raise
    return sock


def raw_socket(version: int, device: str, address: str) -> socket.socket:
    """See Sockets.raw_socket. Raises OSError."""
    sock = socket.socket(
        socket.AF_INET if version == 4 else socket.AF_INET6,
        socket.SOCK_RAW | SOCK_NONBLOCK,
        socket.IPPROTO_RAW,
    )
    try:
        bind_to_device(sock, device)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, DIRECT_BUFFER)
        # The address may be tentative, or gone in a moment: packets that come from it are to be
        # sent all the same; without the address the system makes no such packets.
        sock.setsockopt(*FREEBIND[version], 1)
        # A link-local address belongs to its link.
        scope = socket.if_nametoindex(device) if address.startswith("fe80:") else 0
        sock.bind((address, 0) if version == 4 else (address, 0, 0, scope))
    except OSError:
        sock.close()
        raise
    return sock


def frame_socket(device: str, protocol: int) -> socket.socket:
    """A packet socket that sends frames with a virtio-net header and receives nothing, in any
    process: its filter accepts no packet and cannot be replaced (packet(7)). Raises OSError.

    protocol: of what it sends, as an EtherType; 0 where the link header says it.
    """
    sock = socket.socket(AF_PACKET, socket.SOCK_RAW | SOCK_NONBLOCK, 0)
    try:
        icmp_filter.attach(sock, [icmp_filter.REFUSE])
        sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, DIRECT_BUFFER)
        sock.bind((device, protocol))
    except OSError:
        sock.close()
        raise
    return sock


def path(version: int, interface: Interface, address: str) -> NetworkPath:
    """See Facts.path. A connected socket has it (ip(7), IP_MTU); nothing is sent."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            bind_to_device(sock, interface.name)
            bind_to_source(sock, version, interface)
            sock.connect((address, DISCARD_PORT))
            source = socket.inet_pton(family, sock.getsockname()[0].partition("%")[0])
            if version == 4:
                return NetworkPath(sock.getsockopt(socket.IPPROTO_IP, IP_MTU), source)
            return NetworkPath(sock.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU), source)
    except OSError:
        return NetworkPath(SMALLEST_MTU[version], None)


def enlarge_buffers(sock: socket.socket, size: int) -> None:
    """Beyond net.core.rmem_max where CAP_NET_ADMIN allows it, else up to it."""
    for force, plain in (
        (SO_RCVBUFFORCE, socket.SO_RCVBUF),
        (SO_SNDBUFFORCE, socket.SO_SNDBUF),
    ):
        try:
            sock.setsockopt(socket.SOL_SOCKET, force, size)
        except PermissionError:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, plain, size)
