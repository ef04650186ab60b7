"""Where the IP packet begins in a captured frame, by the type of the link
(tcpdump.org/linktypes.html)."""

from __future__ import annotations

from typing import Final

ETHERNET: Final = 1
RAW: Final = (12, 14, 101, 228, 229)
"""DLT_RAW of BSD and OpenBSD, LINKTYPE_RAW, _IPV4, _IPV6."""
LOOPBACK: Final = (0, 108)
"""A family of 4 bytes, in the order of some machine."""
COOKED: Final = {113: (14, 16), 276: (0, 20)}
"""SLL and SLL2: where the protocol stands, and the length of the header."""
ETHERTYPES: Final = (0x0800, 0x86DD)
VLAN: Final = (0x8100, 0x88A8)
KNOWN: Final = frozenset((ETHERNET, *RAW, *LOOPBACK, *COOKED))


def ip_offset(link: int, data: bytes) -> int | None:
    """None where the frame has no IP packet. link: one of KNOWN."""
    if link in RAW:
        return 0
    if link in LOOPBACK:
        return 4
    if link in COOKED:
        at, size = COOKED[link]
        return size if int.from_bytes(data[at : at + 2], "big") in ETHERTYPES else None
    at = 12
    while int.from_bytes(data[at : at + 2], "big") in VLAN:
        at += 4
    return at + 2 if int.from_bytes(data[at : at + 2], "big") in ETHERTYPES else None
