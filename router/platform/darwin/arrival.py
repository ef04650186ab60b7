"""Which interface a packet has arrived by, as its control messages tell (IP_PKTINFO, IPV6_PKTINFO).

xnu delivers to a socket what has arrived by any interface: IP_BOUND_IF holds for what it sends
(netinet/in_pcb.c:4054-4109, netinet/raw_ip.c).
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from struct import Struct
from typing import Final

from router.platform.darwin.constants import IP_PKTINFO, IPV6_PKTINFO

PKTINFO_V4: Final = Struct("<I4s4s")
"""struct in_pktinfo: interface, own address, destination (netinet/in.h:655-659)"""
PKTINFO_V6: Final = Struct("<16sI")
"""struct in6_pktinfo: destination, interface (netinet6/in6.h:676-679)"""
SPACE: Final = {4: socket.CMSG_SPACE(PKTINFO_V4.size), 6: socket.CMSG_SPACE(PKTINFO_V6.size)}
"""Of the control message, by IP version."""

ControlMessage = tuple[int, int, bytes]
"""Level, type, data."""


def interface_of(messages: Iterable[ControlMessage]) -> int:
    """Its index; 0 where none of the messages tells it."""
    for level, kind, value in messages:
        if (level, kind) == (socket.IPPROTO_IP, IP_PKTINFO) and len(value) >= PKTINFO_V4.size:
            return int(PKTINFO_V4.unpack_from(value)[0])
        if (level, kind) == (socket.IPPROTO_IPV6, IPV6_PKTINFO) and len(value) >= PKTINFO_V6.size:
            return int(PKTINFO_V6.unpack_from(value)[1])
    return 0
