"""Sends one router advertisement (RFC 4861, section 4.2), without options.

python -m tests.e2e.router_advertisement INTERFACE high|medium|low
"""

from __future__ import annotations

import socket
import struct
import sys
from typing import Final

ADVERTISEMENT: Final = 134
PREFERENCE: Final = {"high": 0x08, "medium": 0x00, "low": 0x18}
"""RFC 4191, section 2.2."""
LIFETIME_S: Final = 1800
MESSAGE: Final = struct.Struct("!BBHBBHII")


def main(interface: str, preference: str) -> None:
    message = MESSAGE.pack(ADVERTISEMENT, 0, 0, 64, PREFERENCE[preference], LIFETIME_S, 0, 0)
    with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
        sock.sendto(message, ("ff02::1", 0, 0, socket.if_nametoindex(interface)))


if __name__ == "__main__":
    main(*sys.argv[1:])
