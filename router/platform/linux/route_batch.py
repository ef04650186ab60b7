"""Many routes in few system calls: RTM_NEWROUTE messages, packed by hand.

pyroute2 does everything else here, but takes 0.6 ms for each route, which is 6 s for the 10,000
prefixes of a country list; this takes 0.1 s (docs/adr/001-foundations.md has the figures). Of a
batch only the last message asks for an acknowledgement; errors are reported for any.

Layouts: linux/netlink.h (nlmsghdr), linux/rtnetlink.h (rtmsg, rtattr).
"""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Sequence
from struct import Struct
from typing import Final

from router.platform.base import PlatformError
from router.policy.prefixes import format_prefix
from router.policy.routes.capture import Route

NLMSGHDR: Final = Struct("=IHHII")
RTMSG: Final = Struct("=BBBBBBBBI")
U32_ATTRIBUTE: Final = Struct("=HHI")
ATTRIBUTE: Final = Struct("=HH")

NLMSG_ERROR: Final = 2
RTM_NEWROUTE: Final = 24
RTM_DELROUTE: Final = 25
NLM_F_REQUEST: Final = 0x001
NLM_F_ACK: Final = 0x004
NLM_F_REPLACE: Final = 0x100
NLM_F_CREATE: Final = 0x400
"""Alone, without NLM_F_EXCL: an IPv4 route goes before one of the same prefix and metric."""

RT_TABLE_MAIN: Final = 254
RT_SCOPE_UNIVERSE: Final = 0
RT_SCOPE_LINK: Final = 253
RTN_UNICAST: Final = 1
RTPROT_TUNROUTER: Final = 116
"""Marks our routes and rules as ours; free in /etc/iproute2/rt_protos."""

RTA_DST: Final = 1
RTA_OIF: Final = 4
RTA_PRIORITY: Final = 6
RTA_METRICS: Final = 8
RTAX_MTU: Final = 2
IPV6_METRIC: Final = 1
"""IPv6 routes of the same prefix are told apart by metric; others have 256 or 1024."""

BATCH: Final = 512


def add_routes(index: int, routes: Sequence[Route]) -> None:
    """Add routes by the interface `index` to the main table, or PlatformError naming the first
    that was refused."""
    _send(RTM_NEWROUTE, NLM_F_CREATE, index, routes)


def replace_routes(index: int, routes: Sequence[Route]) -> None:
    """Put routes in the place of those of the same prefix and metric. Raises PlatformError."""
    _send(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, index, routes)


def delete_routes(index: int, routes: Sequence[Route]) -> None:
    """Remove routes; one that is gone already is no error. Raises PlatformError."""
    _send(RTM_DELROUTE, 0, index, routes)


def _send(kind: int, flags: int, index: int, routes: Sequence[Route]) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.bind((0, 0))
        for start in range(0, len(routes), BATCH):
            _send_batch(netlink, kind, flags, index, routes[start : start + BATCH])


def _send_batch(
    netlink: socket.socket, kind: int, flags: int, index: int, routes: Sequence[Route]
) -> None:
    last = len(routes) - 1
    netlink.send(
        b"".join(
            encode(
                route,
                index,
                sequence,
                kind=kind,
                flags=flags | (NLM_F_ACK if sequence == last else 0),
            )
            for sequence, route in enumerate(routes)
        )
    )
    while True:
        for sequence, code in _outcomes(netlink.recv(65536)):
            if code and not (kind == RTM_DELROUTE and code == errno.ESRCH):
                route = routes[sequence]
                shown = format_prefix(route.version, route.first, route.length)
                raise PlatformError(f"the route to {shown} was refused: {os.strerror(code)}")
            if sequence == last:
                return


def _outcomes(answer: bytes) -> list[tuple[int, int]]:
    """(sequence number, errno or 0) of each acknowledgement or error in a datagram."""
    outcomes = []
    offset = 0
    while offset + NLMSGHDR.size <= len(answer):
        length, kind, _, sequence, _ = NLMSGHDR.unpack_from(answer, offset)
        if kind == NLMSG_ERROR:
            code = int.from_bytes(answer[offset + 16 : offset + 20], sys.byteorder, signed=True)
            outcomes.append((sequence, -code))
        offset += max((length + 3) & ~3, NLMSGHDR.size)
    return outcomes


def encode(
    route: Route,
    index: int,
    sequence: int,
    *,
    kind: int = RTM_NEWROUTE,
    flags: int = NLM_F_CREATE,
) -> bytes:
    """One message for `route` by the interface `index`; `kind` is RTM_NEWROUTE or RTM_DELROUTE."""
    four = route.version == 4
    address = route.first.to_bytes(4 if four else 16, "big")
    message = RTMSG.pack(
        socket.AF_INET if four else socket.AF_INET6,
        route.length,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_TUNROUTER,
        RT_SCOPE_LINK if four else RT_SCOPE_UNIVERSE,
        RTN_UNICAST,
        0,
    )
    message += ATTRIBUTE.pack(4 + len(address), RTA_DST) + address
    message += U32_ATTRIBUTE.pack(8, RTA_OIF, index)
    if not four:
        message += U32_ATTRIBUTE.pack(8, RTA_PRIORITY, IPV6_METRIC)
    message += ATTRIBUTE.pack(12, RTA_METRICS) + U32_ATTRIBUTE.pack(8, RTAX_MTU, route.mtu)
    size = NLMSGHDR.size + len(message)
    return NLMSGHDR.pack(size, kind, NLM_F_REQUEST | flags, sequence, 0) + message
