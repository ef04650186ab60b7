"""Error queues of sockets (IP_RECVERR, IPV6_RECVERR): the ICMP errors about what a socket sent.

Sources: ip(7), ipv6(7), linux/errqueue.h (sock_extended_err), linux/in.h, linux/in6.h.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

IP_RECVERR: Final = 11
IPV6_RECVERR: Final = 25
RECVERR: Final = {4: IP_RECVERR, 6: IPV6_RECVERR}
"""The option that turns the queue on, and the type of its control messages; its level is that of
the family."""

EXTENDED_ERROR: Final = Struct("=IBBBxII")
"""struct sock_extended_err: errno, origin, type, code, padding, info, data. The sockaddr of the
sender follows."""
ORIGIN_ICMP: Final = {4: 2, 6: 3}
"""SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6; the other one that is met is 1, local."""
OFFENDER: Final = {
    4: slice(EXTENDED_ERROR.size + 4, EXTENDED_ERROR.size + 8),
    6: slice(EXTENDED_ERROR.size + 8, EXTENDED_ERROR.size + 24),
}
"""The address in that sockaddr."""
ERROR_SIZE: Final = EXTENDED_ERROR.size + 28
"""With a sockaddr_in6, the longer of the two."""


class ExtendedError(NamedTuple):
    """One entry of the queue.

    error       errno number
    kind, code  ICMP type and code; 0 where the kernel itself reports
    info        what the error carries: an MTU, a pointer
    offender    who sent the ICMP error, 4 or 16 bytes; None where the kernel itself reports
    """

    error: int
    kind: int
    code: int
    info: int
    offender: bytes | None


def parse_extended_error(data: bytes, version: int) -> ExtendedError | None:
    """The payload of a RECVERR control message; None if it is too short."""
    if len(data) < EXTENDED_ERROR.size:
        return None
    error, origin, kind, code, info, _ = EXTENDED_ERROR.unpack_from(data)
    offender = data[OFFENDER[version]] if origin == ORIGIN_ICMP[version] else None
    return ExtendedError(error, kind, code, info, offender)
