"""The path to an address by an interface, as the kernel answers RTM_GET: the lookup of a socket
that is bound to the interface (net/rtsock.c:617-730).

Must not know: which sockets there are.
"""

from __future__ import annotations

import os
from itertools import count
from typing import Final

from router.platform.base.facts import NetworkPath
from router.platform.darwin.constants import RTM_GET
from router.platform.darwin.kernel import RoutingKernel
from router.platform.darwin.route_messages import RouteMessage, messages
from router.platform.darwin.route_requests import get_route
from router.platform.darwin.sockaddr import ADDRESS_SIZE

SMALLEST_MTU: Final = {4: 576, 6: 1280}
"""RFC 1122, section 3.3.3; RFC 8200, section 5."""
MOST_MESSAGES: Final = 64
"""Of other programs, between a request and its answer, which is there when the write returns."""
LARGEST: Final = 4096

_sequence = count(1)


def path(kernel: RoutingKernel, version: int, interface: int, address: int) -> NetworkPath:
    """See Facts.path. interface: its index."""
    try:
        route = _route(kernel, version, interface, address)
    except OSError:
        route = None
    if route is None or route.source is None or route.interface != interface:
        return NetworkPath(SMALLEST_MTU[version], None)
    source = route.source.value.to_bytes(ADDRESS_SIZE[version], "big")
    return NetworkPath(route.mtu or SMALLEST_MTU[version], source)


def _route(
    kernel: RoutingKernel, version: int, interface: int, address: int
) -> RouteMessage | None:
    """Raises OSError: ESRCH where there is none."""
    sequence = next(_sequence)
    sock = kernel.event_socket()
    try:
        sock.send(get_route(version, address, scope=interface, sequence=sequence))
        for _ in range(MOST_MESSAGES):
            for each in messages(sock.recv(LARGEST)):
                if isinstance(each, RouteMessage) and _is_answer(each, sequence):
                    return each
    finally:
        sock.close()
    return None


def _is_answer(message: RouteMessage, sequence: int) -> bool:
    """Everybody's messages arrive at every socket."""
    is_ours = (message.pid, message.sequence) == (os.getpid(), sequence)
    return message.kind == RTM_GET and is_ours and not message.error
