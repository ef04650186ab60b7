"""Classes of addresses that a router distinguishes (RFC 1812 5.3.7, RFC 4291, RFC 6890).

Addresses are bytes in network order, 4 or 16 of them.
"""

from __future__ import annotations

from typing import Final

UNSPECIFIED_V6: Final = bytes(16)
LOOPBACK_V6: Final = bytes(15) + b"\1"
LIMITED_BROADCAST: Final = b"\xff" * 4


def is_host_source(address: bytes) -> bool:
    """Whether a forwarded packet may have this source: a unicast address, not link-local."""
    if len(address) == 4:
        first = address[0]
        return first not in (0, 127) and first < 224 and address[:2] != b"\xa9\xfe"
    if address[0] == 0xFF or _is_link_local_v6(address):
        return False
    return address not in (UNSPECIFIED_V6, LOOPBACK_V6)


def is_forwardable(address: bytes) -> bool:
    """Whether packets to this destination may be forwarded: not multicast, broadcast, loopback or
    IPv6 link-local."""
    if len(address) == 4:
        first = address[0]
        return first not in (0, 127) and not 224 <= first <= 239 and address != LIMITED_BROADCAST
    if address[0] == 0xFF or _is_link_local_v6(address):
        return False
    return address not in (UNSPECIFIED_V6, LOOPBACK_V6)


def _is_link_local_v6(address: bytes) -> bool:
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80
