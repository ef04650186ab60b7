"""Requests to a PF_ROUTE socket, one message each (net/rtsock.c:319-1010, route_output).

No RTM_CHANGE is among them: it changes the longest match of the destination, and where the route
that was meant is gone, that is another program's, up to the default route (net/rtsock.c:617-650,
net/route.c:3384). RTM_DELETE takes a prefix exactly, whichever program made the route,
so a caller looks first whose it is.

Must not know: sockets; which routes there are.
"""

from __future__ import annotations

from typing import Final

from router.platform.darwin.constants import (
    RTA_DST,
    RTA_GATEWAY,
    RTA_IFA,
    RTA_IFP,
    RTA_NETMASK,
    RTF_HOST,
    RTF_IFSCOPE,
    RTF_STATIC,
    RTF_UP,
    RTM_ADD,
    RTM_DELETE,
    RTM_GET,
    RTM_VERSION,
    RTV_MTU,
)
from router.platform.darwin.route_messages import MTU, ROUTE
from router.platform.darwin.sockaddr import Link, pack_address, pack_link

METRICS: Final = 14
WIDTH: Final = {4: 32, 6: 128}


def add_route(
    version: int,
    first: int,
    length: int,
    link: Link,
    *,
    is_host: bool = False,
    mtu: int = 0,
    scope: int = 0,
    sequence: int = 0,
) -> bytes:
    """A route by an interface, without a gateway. mtu: in bytes, 0 for that of the interface.
    scope: the index of an interface, 0 for an unscoped route."""
    return _request(
        RTM_ADD,
        index=scope,
        flags=_flags(is_host, scope),
        mtu=mtu,
        sequence=sequence,
        addresses=_destination(version, first, length, is_host, pack_link(*link)),
    )


def delete_route(
    version: int,
    first: int,
    length: int,
    *,
    is_host: bool = False,
    scope: int = 0,
    sequence: int = 0,
) -> bytes:
    """The one route with this prefix and scope."""
    return _request(
        RTM_DELETE,
        index=scope,
        flags=_flags(is_host, scope),
        sequence=sequence,
        addresses=_destination(version, first, length, is_host, None),
    )


def get_route(version: int, destination: int, *, scope: int = 0, sequence: int = 0) -> bytes:
    """The route that a socket bound to the interface of the scope would take. The answer names
    its interface and the source address (RTA_IFP, RTA_IFA are requested by their bits alone: the
    kernel stops at the end of the message, net/rtsock.c:1203)."""
    return _request(
        RTM_GET,
        index=scope,
        flags=RTF_UP | RTF_HOST | (RTF_IFSCOPE if scope else 0),
        sequence=sequence,
        addresses={RTA_DST: pack_address(version, destination), RTA_IFP: b"", RTA_IFA: b""},
    )


def _flags(is_host: bool, scope: int) -> int:
    return RTF_UP | RTF_STATIC | (RTF_HOST if is_host else 0) | (RTF_IFSCOPE if scope else 0)


def _destination(
    version: int, first: int, length: int, is_host: bool, gateway: bytes | None
) -> dict[int, bytes]:
    """In the order of their bits."""
    addresses = {RTA_DST: pack_address(version, first)}
    if gateway is not None:
        addresses[RTA_GATEWAY] = gateway
    if not is_host:
        width = WIDTH[version]
        mask = ((1 << length) - 1) << (width - length)
        addresses[RTA_NETMASK] = pack_address(version, mask)
    return addresses


def _request(
    kind: int, *, index: int, flags: int, sequence: int, addresses: dict[int, bytes], mtu: int = 0
) -> bytes:
    """The kernel refuses a message whose length is not the one in it (net/rtsock.c:350)."""
    body = b"".join(addresses.values())
    metrics = [0] * METRICS
    metrics[MTU] = mtu
    head = ROUTE.pack(
        ROUTE.size + len(body),
        RTM_VERSION,
        kind,
        index,
        flags,
        sum(addresses),
        0,
        sequence,
        0,
        0,
        RTV_MTU if mtu else 0,
        *metrics,
    )
    return head + body
