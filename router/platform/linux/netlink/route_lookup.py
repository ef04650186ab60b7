"""The kernel's answer to how a packet of this machine would go: RTM_GETROUTE for one destination.

Needs no privilege. Nothing is cached: each answer is of its moment.

There are two kinds of answers. The resolved one is what a packet gets: one next hop, and the source
address that the kernel would choose. The matched one (RTM_F_FIB_MATCH) is the entry of the table,
with the preferred source and the metrics that are written in it. They differ where an interface is
given that no route leads by: IPv4 then resolves to "on the link" with an address of the interface
and table 0 (the matched answer is None). IPv6 has no answer of either kind.

Must not know: what the answers are for.
"""

from __future__ import annotations

import socket
from types import TracebackType
from typing import Final, NamedTuple, Self

from router.platform.families import FAMILY
from router.platform.linux.netlink.constants import (
    NLM_F_REQUEST,
    NLMSG_ERROR,
    RTA_DST,
    RTA_GATEWAY,
    RTA_METRICS,
    RTA_MULTIPATH,
    RTA_OIF,
    RTA_PREF,
    RTA_PREFSRC,
    RTA_PRIORITY,
    RTA_SRC,
    RTA_TABLE,
    RTA_VIA,
    RTM_F_FIB_MATCH,
    RTM_F_LOOKUP_TABLE,
    RTM_GETROUTE,
)
from router.platform.linux.netlink.dump import rtnetlink
from router.platform.linux.netlink.messages import (
    RTMSG,
    U32_ATTRIBUTE,
    Attributes,
    Message,
    attributes,
    number,
    pack_attribute,
    pack_message,
    split_metrics,
    unpack_messages,
)

BUFFER: Final = 1 << 16
PREFERENCE: Final = {1: 1, 3: -1}
"""ICMPV6_ROUTER_PREF_HIGH and _LOW (linux/icmpv6.h)."""
VIA_FAMILY_SIZE: Final = 2
"""rtvia: the address family goes before the address (linux/rtnetlink.h)."""


class Answer(NamedTuple):
    """A route. Addresses are packed.

    kind        its type, RTN_UNICAST for a packet that leaves, RTN_LOCAL for one that stays
    table       that decided; 0 where none did, see above. Where no rules are set the kernel looks
                local and main table up as one, which it calls the main one
    protocol    who has made the route (RTPROT_...), as far as the kernel tells it
    length      of the prefix that matched; of a resolved answer that of the whole address
    interface   the index; 0 where the answer has none, as a matched route of several hops
    gateway     None for a destination on the link; it may be of the other family
    source      resolved: the address that the kernel chooses, or None where the request named it;
                matched: the preferred source that is written in the route
    metric      the priority; 0 in resolved answers of IPv4
    mtu         in bytes: resolved answers of IPv4 contain a learnt path MTU; 0 where none is set
    metrics     attributes of the route (RTAX_...) but for the MTU, as (type, payload)
    multipath   whether the route has several next hops (matched answers alone tell it)
    preference  of the router (RFC 4191): 1 high, 0 medium, -1 low
    """

    kind: int
    table: int
    protocol: int
    length: int
    interface: int
    gateway: bytes | None
    source: bytes | None
    metric: int
    mtu: int
    metrics: tuple[tuple[int, bytes], ...]
    multipath: bool
    preference: int


class RouteLookup:
    """One socket for any number of requests, one after the other; between them it is free for
    dumps."""

    def __init__(self) -> None:
        """Raises OSError."""
        self.socket = rtnetlink()
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def ask(
        self,
        version: int,
        destination: bytes,
        *,
        oif: int | None = None,
        source: bytes | None = None,
        matched: bool = False,
    ) -> Answer | None:
        """The route of a packet to `destination`, of a socket that is bound to the interface of
        index `oif`, or to the address `source`; None where the kernel answers with an error (no
        route, one that refuses, no such interface, a source that is not this machine's).

        `matched`: the entry of the table instead of what a packet gets, see above. Raises OSError
        where the socket fails.
        """
        self._sequence += 1
        body = _request(version, destination, oif, source, matched)
        self.socket.send(pack_message(RTM_GETROUTE, NLM_F_REQUEST, self._sequence, body))
        message = self._receive()
        return None if message.kind == NLMSG_ERROR else _answer(message.body)

    def _receive(self) -> Message:
        while True:
            for message in unpack_messages(self.socket.recv(BUFFER)):
                if message.sequence == self._sequence:
                    return message


def _request(
    version: int, destination: bytes, oif: int | None, source: bytes | None, matched: bool
) -> bytes:
    bits = 8 * len(destination)
    flags = RTM_F_LOOKUP_TABLE | (RTM_F_FIB_MATCH if matched else 0)
    parts = [
        RTMSG.pack(FAMILY[version], bits, bits if source else 0, 0, 0, 0, 0, 0, flags),
        pack_attribute(RTA_DST, destination),
    ]
    if source:
        parts.append(pack_attribute(RTA_SRC, source))
    if oif is not None:
        parts.append(U32_ATTRIBUTE.pack(U32_ATTRIBUTE.size, RTA_OIF, oif))
    return b"".join(parts)


def _answer(body: bytes) -> Answer:
    family, length, _, _, table, protocol, _, kind, _ = RTMSG.unpack_from(body)
    route = attributes(body[RTMSG.size :])
    mtu, metrics = split_metrics(route.get(RTA_METRICS, b""))
    return Answer(
        kind,
        number(route.get(RTA_TABLE), table),
        protocol,
        length,
        number(route.get(RTA_OIF)),
        _gateway(family, route),
        route.get(RTA_PREFSRC),
        number(route.get(RTA_PRIORITY)),
        mtu,
        metrics,
        RTA_MULTIPATH in route,
        PREFERENCE.get(number(route.get(RTA_PREF)), 0),
    )


def _gateway(family: int, route: Attributes) -> bytes | None:
    """Of an IPv4 route it may be an IPv6 address (RTA_VIA)."""
    via = route.get(RTA_VIA)
    if family == socket.AF_INET and via is not None:
        return via[VIA_FAMILY_SIZE:]
    return route.get(RTA_GATEWAY)
