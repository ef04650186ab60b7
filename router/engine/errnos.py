"""What an errno of a system call means for the sender of a packet.

Always true: the sender gets the ICMP error or reset that names what the kernel has reported; an
errno that stands for a lack of resources is a refusal (RFC 5508 REQ-8).
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from typing import Final

from router.flows.drops import Drop
from router.wire.icmp import Error

SEND_ERRORS: Final[Mapping[int, tuple[Error, Drop]]] = {
    errno.ENETUNREACH: (Error.NO_ROUTE, Drop.UNREACHABLE),
    errno.ENETDOWN: (Error.NO_ROUTE, Drop.UNREACHABLE),
    errno.ENODEV: (Error.NO_ROUTE, Drop.UNREACHABLE),
    errno.ENXIO: (Error.NO_ROUTE, Drop.UNREACHABLE),
    errno.EADDRNOTAVAIL: (Error.NO_ROUTE, Drop.UNREACHABLE),
    errno.EHOSTUNREACH: (Error.HOST_UNREACHABLE, Drop.UNREACHABLE),
    errno.EHOSTDOWN: (Error.HOST_UNREACHABLE, Drop.UNREACHABLE),
    errno.EACCES: (Error.PROHIBITED, Drop.UNREACHABLE),
    errno.EPERM: (Error.PROHIBITED, Drop.UNREACHABLE),
    errno.EMSGSIZE: (Error.TOO_BIG, Drop.TOO_BIG),
}
"""Of sending a packet or opening a connection: the error for the sender, and the drop reason. By
EHOSTDOWN macOS reports a neighbour that does not answer (net/route.c:4386)."""

RESETS: Final = frozenset({errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE})
"""Of opening a connection: the destination has refused it by a reset."""

EXHAUSTED: Final = frozenset(
    {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EAGAIN, errno.EADDRNOTAVAIL}
)
"""Of opening a connection: no descriptor, memory or local port is left; connect(2) reports the lack
of ports as EAGAIN or EADDRNOTAVAIL."""
