"""The fields of a packet that a trace needs, read from any buffer; it may be snapped or damaged.

Always true: nothing is read behind `end`; what is missing is None, and nothing raises.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from router.wire import icmp, ip
from router.wire.headers import ICMP_HEADER, PORTS, V4_FRAGMENT, V4_PROTOCOL, V6_NEXT_HEADER

EXTENSIONS: Final = (0, 43, 60, 135)
"""IPv6 extension headers with a length in units of 8 bytes (RFC 8200, section 4)."""
FRAGMENT: Final = 44
QUERY_IDENTIFIER: Final = 4

Buffer = bytes | bytearray | memoryview


class Fields(NamedTuple):
    """Addresses are bytes in network order, 4 or 16 of them.

    source_port, destination_port    of ICMP queries and their answers both are the identifier;
                                     None where there are none, as in later fragments
    kind                             the type of an ICMP message; None of other protocols
    body                             where in the buffer the header behind IP begins
    """

    version: int
    protocol: int
    source: bytes
    destination: bytes
    source_port: int | None
    destination_port: int | None
    kind: int | None
    body: int

    @property
    def is_error(self) -> bool:
        """Whether it is an ICMP error, which quotes another packet."""
        if self.kind is None:
            return False
        return self.kind in icmp.ERROR_TYPES if self.version == 4 else self.kind < 128


def read(data: Buffer, start: int, end: int) -> Fields | None:
    """Of the packet in data[start:end]; None if that is no IP packet."""
    if end - start < ip.IPV4_HEADER:
        return None
    if data[start] >> 4 == 4:
        source, destination = (
            bytes(data[start + 12 : start + 16]),
            bytes(data[start + 16 : start + 20]),
        )
        body = start + ((data[start] & 0x0F) << 2)
        later = (data[start + V4_FRAGMENT] & 0x1F) << 8 | data[start + V4_FRAGMENT + 1]
        protocol = data[start + V4_PROTOCOL]
        return _behind(data, 4, protocol, source, destination, body, end, is_later=later > 0)
    if data[start] >> 4 != 6 or end - start < ip.IPV6_HEADER:
        return None
    source, destination = bytes(data[start + 8 : start + 24]), bytes(data[start + 24 : start + 40])
    protocol, body, is_later = data[start + V6_NEXT_HEADER], start + ip.IPV6_HEADER, False
    while protocol in (*EXTENSIONS, FRAGMENT) and body + 8 <= end:
        size = 8
        if protocol == FRAGMENT:
            is_later |= (data[body + 2] << 8 | data[body + 3]) & 0xFFF8 > 0
        else:
            size += data[body + 1] * 8
        protocol, body = data[body], body + size
    return _behind(data, 6, protocol, source, destination, body, end, is_later=is_later)


def quoted(data: Buffer, end: int, error: Fields) -> Fields | None:
    """Of the packet that an ICMP error quotes."""
    return read(data, error.body + ICMP_HEADER, end)


def _behind(
    data: Buffer,
    version: int,
    protocol: int,
    source: bytes,
    destination: bytes,
    body: int,
    end: int,
    *,
    is_later: bool,
) -> Fields:
    ports: tuple[int | None, int | None] = None, None
    kind = None
    if not is_later and body + PORTS <= end:
        if protocol in (ip.TCP, ip.UDP):
            ports = data[body] << 8 | data[body + 1], data[body + 2] << 8 | data[body + 3]
        elif protocol == icmp.protocol_of(version):
            kind = data[body]
            is_query = kind in icmp.ANSWER_TO[version] or kind in icmp.REQUEST_OF[version]
            at = body + QUERY_IDENTIFIER
            if is_query and at + 2 <= end:
                identifier = data[at] << 8 | data[at + 1]
                ports = identifier, identifier
    return Fields(version, protocol, source, destination, *ports, kind, body)
