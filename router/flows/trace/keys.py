"""What packets of one flow have in common, read in one step: a key for what is kept by flow.

Two packets with the same key have the same addresses, protocol and ports, or type and identifier of
an ICMP message, and are fragments alike: whatever a filter says about one as far as it reads the
packet, it says about the other.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from router.flows.trace.fields import Buffer, Fields
from router.wire import ip
from router.wire.headers import ICMP_HEADER, V4_PROTOCOL, V6_NEXT_HEADER

V4_LEAST: Final = ip.IPV4_HEADER + ICMP_HEADER
V6_LEAST: Final = ip.IPV6_HEADER + ICMP_HEADER
WITHOUT_OPTIONS: Final = 0x45
_V4_PORTS: Final = Struct("=B5xHxB2xQI").unpack_from
"""Version and length, flags and fragment offset, protocol, addresses, ports."""
_V4_QUERY: Final = Struct("=B5xHxB2xQB3xH").unpack_from
"""In place of the ports: type and identifier."""
_V6_PORTS: Final = Struct("=B5xBx4QI").unpack_from
_V6_QUERY: Final = Struct("=B5xBx4QB3xH").unpack_from

Key = tuple[int, ...]


def key_of(data: Buffer, start: int, end: int) -> Key | None:
    """Of the packet in data[start:end]; None where it is too short or has options. It stands for
    the packet only if `has_key` is true of its fields."""
    if end - start < V4_LEAST:
        return None
    if data[start] == WITHOUT_OPTIONS:
        if data[start + V4_PROTOCOL] == ip.ICMP:
            return _V4_QUERY(data, start)
        return _V4_PORTS(data, start)
    if data[start] >> 4 == 6 and end - start >= V6_LEAST:
        if data[start + V6_NEXT_HEADER] == ip.ICMPV6:
            return _V6_QUERY(data, start)
        return _V6_PORTS(data, start)
    return None


def has_key(fields: Fields, start: int) -> bool:
    """Whether ports, or an identifier, stand where the key of the packet that begins at `start` has
    them."""
    header = ip.IPV4_HEADER if fields.version == 4 else ip.IPV6_HEADER
    return fields.source_port is not None and fields.body == start + header
