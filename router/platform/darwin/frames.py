"""What stands before each packet of a utun: its address family, four bytes, big-endian
(net/if_utun.c:2064, 2672).

Must not know: sockets.
"""

from __future__ import annotations

from typing import Final

from router.platform.darwin.constants import AF_INET, AF_INET6

HEADER: Final = 4
FAMILY_V4: Final = AF_INET.to_bytes(HEADER, "big")
FAMILY_V6: Final = AF_INET6.to_bytes(HEADER, "big")


def family_of(packet: bytes | bytearray | memoryview) -> bytes:
    """The header of a packet, by its version."""
    return FAMILY_V6 if packet[0] >> 4 == 6 else FAMILY_V4
