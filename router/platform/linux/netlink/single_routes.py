"""Requests about one route outside the batches: RTM_NEWROUTE and RTM_DELROUTE
(linux/rtnetlink.h).

Must not know: sockets.
"""

from __future__ import annotations

from typing import NamedTuple

from router.platform.linux.netlink.constants import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    RT_SCOPE_UNIVERSE,
    RTA_DST,
    RTA_OIF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTA_TABLE,
    RTM_DELROUTE,
    RTM_NEWROUTE,
    RTN_UNICAST,
    RTN_UNSPEC,
)
from router.platform.linux.netlink.messages import RTMSG, U32_ATTRIBUTE, pack_attribute
from router.platform.linux.netlink.request import Request


class SingleRoute(NamedTuple):
    """By the interface of the index `oif`, without gateway.

    dst: the packed address of the network, empty for a default route; length: of its prefix; proto:
    who made it, RTPROT_...; kind, scope: RTN_... and RT_SCOPE_...; prefsrc: packed, empty for none.
    """

    family: int
    oif: int
    table: int
    proto: int
    priority: int = 0
    dst: bytes = b""
    length: int = 0
    kind: int = RTN_UNICAST
    scope: int = RT_SCOPE_UNIVERSE
    prefsrc: bytes = b""


def add_route(route: SingleRoute) -> Request:
    """Refused with EEXIST where it exists."""
    return Request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, _body(route))


def delete_route(route: SingleRoute) -> Request:
    """Of any type. Refused with ESRCH where there is none."""
    return Request(RTM_DELROUTE, 0, _body(route._replace(kind=RTN_UNSPEC)))


def _body(route: SingleRoute) -> bytes:
    body = RTMSG.pack(route.family, route.length, 0, 0, 0, route.proto, route.scope, route.kind, 0)
    for kind, number in (
        (RTA_OIF, route.oif),
        (RTA_TABLE, route.table),
        (RTA_PRIORITY, route.priority),
    ):
        if number:
            body += U32_ATTRIBUTE.pack(U32_ATTRIBUTE.size, kind, number)
    for kind, address in ((RTA_DST, route.dst), (RTA_PREFSRC, route.prefsrc)):
        if address:
            body += pack_attribute(kind, address)
    return body
