"""Changing routes by a PF_ROUTE socket: one message a write, whose answer is the write's errno.

The socket must have been opened by root; who writes to it later does not matter
(net/rtsock.c:396, SS_PRIV is the socket's).

Must not know: which routes there should be.
"""

from __future__ import annotations

import errno
from typing import NamedTuple

from router.platform.darwin.kernel import RouteSocket
from router.platform.darwin.route_requests import add_route, delete_route
from router.platform.darwin.sockaddr import Link


class Target(NamedTuple):
    """What names a route. is_host: a host route, which may exist beside a network route of the same
    address. scope: the index of an interface; 0: unscoped."""

    version: int
    first: int
    length: int
    is_host: bool = False
    scope: int = 0


class RoutingSocket:
    """Owns the socket."""

    def __init__(self, sock: RouteSocket) -> None:
        self._socket = sock
        self._sequence = 0
        self.close = sock.close

    def add(self, route: Target, link: Link, mtu: int = 0) -> bool:
        """A route by an interface, without a gateway; False where there is one already. mtu: in
        bytes, 0 for that of the interface. Raises OSError."""
        request = add_route(
            *route[:3],
            link,
            is_host=route.is_host,
            mtu=mtu,
            scope=route.scope,
            sequence=self._next(),
        )
        return self._send(request, errno.EEXIST)

    def delete(self, route: Target) -> bool:
        """The route with this name, whichever program made it; False where there is none. Raises
        OSError."""
        request = delete_route(
            *route[:3], is_host=route.is_host, scope=route.scope, sequence=self._next()
        )
        return self._send(request, errno.ESRCH)

    def _send(self, request: bytes, expected: int) -> bool:
        """False after an expected error."""
        try:
            self._socket.send(request)
        except OSError as error:
            if error.errno != expected:
                raise
            return False
        return True

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence
