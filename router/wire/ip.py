"""One IP packet as a checked view: what the rest of the router may rely on without looking again.

Always true of a Packet: its headers lie wholly inside `data`, `data` has the length that the
header states, and `payload` is where the upper-layer header begins (behind every IPv6 extension
header that can be passed over). Nothing is promised about what the payload holds.

The IPv4 header checksum is not verified: packets come from the kernel, which has done so.
"""

from __future__ import annotations

from ipaddress import ip_address
from struct import pack, unpack_from
from typing import Final

from router.wire.headers import (
    V4_FIELDS,
    V4_FRAGMENT,
    V4_PROTOCOL,
    V6_DESTINATION,
    V6_HOP_LIMIT,
    V6_NEXT_HEADER,
    V6_PAYLOAD_LENGTH,
    V6_SOURCE,
    fill_in_v4_checksum,
)

ICMP: Final = 1
TCP: Final = 6
UDP: Final = 17
ICMPV6: Final = 58
NO_NEXT_HEADER: Final = 59

HOP_BY_HOP: Final = 0
ROUTING: Final = 43
FRAGMENT: Final = 44
AUTHENTICATION: Final = 51
DESTINATION_OPTIONS: Final = 60
EXTENSION_HEADERS: Final = frozenset(
    {HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS}
)
MAX_EXTENSION_HEADERS: Final = 8
"""Linux passes over as many headers of a kind by default (net.ipv6.max_hbh_opts_number)."""

IPV4_HEADER: Final = 20
IPV6_HEADER: Final = 40
DONT_FRAGMENT: Final = 0x4000
MORE_FRAGMENTS: Final = 0x2000
FRAGMENT_OFFSET: Final = 0x1FFF
"""Parts of the IPv4 field of flags and fragment offset, which counts in units of 8 bytes."""
OF_FRAGMENTS: Final = MORE_FRAGMENTS | FRAGMENT_OFFSET
IPV6_MIN_MTU: Final = 1280


class Malformed(ValueError):
    """The bytes are not an IP packet; the message has the reason."""


class Packet:
    """A checked view of one packet; made by `parse`.

    version         4 or 6
    data            the packet, nothing before or behind it
    payload         offset in `data` of the upper-layer header
    protocol        of the upper layer, as an IP protocol number
    protocol_field  offset in `data` of the byte that names it
    source, destination    addresses in network order, 4 or 16 bytes
    hop_limit       TTL or hop limit, as received
    fragment_offset in bytes; `more_fragments` whether others follow
    reassembled     whether it came in fragments, so that it may leave in some
    """

    __slots__ = (
        "data",
        "destination",
        "fragment_offset",
        "hop_limit",
        "more_fragments",
        "payload",
        "protocol",
        "protocol_field",
        "reassembled",
        "source",
        "version",
    )

    data: bytes
    destination: bytes
    fragment_offset: int
    hop_limit: int
    more_fragments: bool
    payload: int
    protocol: int
    protocol_field: int
    reassembled: bool
    source: bytes
    version: int

    @property
    def is_fragment(self) -> bool:
        return self.more_fragments or self.fragment_offset > 0

    @property
    def traffic_class(self) -> int:
        """TOS (IPv4) or traffic class (IPv6)."""
        if self.version == 4:
            return self.data[1]
        return (self.data[0] & 0x0F) << 4 | self.data[1] >> 4

    @property
    def dont_fragment(self) -> bool:
        """Whether it may not leave in fragments: IPv4 with DF, IPv6 unless it came in some."""
        if self.version == 4:
            return bool(self.data[V4_FRAGMENT] & (DONT_FRAGMENT >> 8))
        return not self.reassembled

    @property
    def body(self) -> memoryview:
        """The upper-layer packet."""
        return memoryview(self.data)[self.payload :]


def bare(protocol: int, addresses: bytes, payload: bytes) -> bytes:
    """A packet of a protocol between two addresses, for what looks at nothing else of its
    header."""
    if len(addresses) == 8:
        start = bytes([0x45, 0, 0, IPV4_HEADER + len(payload), *bytes(5), protocol, 0, 0])
    else:
        start = bytes([0x60, *bytes(4), len(payload), protocol, 0])
    return start + addresses + payload


def parse(data: bytes) -> Packet:
    """Check the headers of one packet.

    data: a whole packet, as a TUN device or a raw socket gives it; bytes behind the length that
    the header states are cut off.

    Raises Malformed.
    """
    if not data or data[0] >> 4 != 4:
        return _parse_other(data)
    size = len(data)
    if size < IPV4_HEADER:
        raise Malformed(f"IPv4 header cut off at {size} bytes")
    first, length, fragment, hop_limit, protocol, source, destination = V4_FIELDS.unpack_from(data)
    header = (first & 0x0F) << 2
    if not IPV4_HEADER <= header <= length <= size:
        raise Malformed(f"IPv4 header of {header} bytes, length {length}, {size} bytes there")
    packet = Packet()
    packet.version = 4
    packet.data = data if length == size else data[:length]
    packet.payload = header
    packet.protocol = protocol
    packet.protocol_field = V4_PROTOCOL
    packet.source = source
    packet.destination = destination
    packet.hop_limit = hop_limit
    packet.reassembled = False
    if fragment & OF_FRAGMENTS:
        packet.more_fragments = fragment & MORE_FRAGMENTS != 0
        packet.fragment_offset = (fragment & FRAGMENT_OFFSET) << 3
    else:
        packet.more_fragments = False
        packet.fragment_offset = 0
    return packet


def _parse_other(data: bytes) -> Packet:
    if not data:
        raise Malformed("empty packet")
    if data[0] >> 4 != 6:
        raise Malformed(f"IP version {data[0] >> 4}")
    return _parse_ipv6(data)


def _parse_ipv6(data: bytes) -> Packet:
    size = len(data)
    if size < IPV6_HEADER:
        raise Malformed(f"IPv6 header cut off at {size} bytes")
    length = IPV6_HEADER + (data[V6_PAYLOAD_LENGTH] << 8 | data[V6_PAYLOAD_LENGTH + 1])
    if length > size:
        raise Malformed(f"IPv6 length {length}, {size} bytes there")
    packet = Packet()
    packet.version = 6
    packet.data = data if length == size else data[:length]
    packet.payload = IPV6_HEADER
    packet.protocol = data[V6_NEXT_HEADER]
    packet.protocol_field = V6_NEXT_HEADER
    packet.source = data[V6_SOURCE]
    packet.destination = data[V6_DESTINATION]
    packet.hop_limit = data[V6_HOP_LIMIT]
    packet.reassembled = False
    packet.more_fragments = False
    packet.fragment_offset = 0
    if packet.protocol in EXTENSION_HEADERS:
        _pass_extension_headers(packet)
    return packet


def _pass_extension_headers(packet: Packet) -> None:
    """Move `payload` and `protocol` to the upper layer (RFC 8200, section 4).

    Stops behind the fragment header of a fragment: what follows is a part of something.
    """
    data = packet.data
    for _ in range(MAX_EXTENSION_HEADERS):
        protocol, offset = packet.protocol, packet.payload
        if protocol not in EXTENSION_HEADERS:
            return
        if offset + 8 > len(data):
            raise Malformed(f"IPv6 extension header {protocol} cut off")
        if protocol == FRAGMENT:
            (field,) = unpack_from("!H", data, offset + 2)
            packet.fragment_offset = field & 0xFFF8
            packet.more_fragments = bool(field & 1)
        packet.protocol = data[offset]
        packet.protocol_field = offset
        packet.payload = offset + _extension_size(protocol, data[offset + 1])
        if packet.payload > len(data):
            raise Malformed(f"IPv6 extension header {protocol} cut off")
        if packet.is_fragment:
            return
    raise Malformed("too many IPv6 extension headers")


def _extension_size(protocol: int, field: int) -> int:
    """The length of an extension header whose length field is `field`."""
    if protocol == FRAGMENT:
        return 8
    if protocol == AUTHENTICATION:
        return (field + 2) << 2
    return (field + 1) << 3


def names_fragment_header(fragment: Packet) -> int:
    """The offset in an IPv6 fragment of the next-header byte that names the fragment header."""
    data, at, offset = fragment.data, V6_NEXT_HEADER, IPV6_HEADER
    while offset < fragment.payload - 8:
        at, offset = offset, offset + _extension_size(data[at], data[offset + 1])
    return at


def build(  # the fields of a header are what they are
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes | bytearray | memoryview,
    *,
    hop_limit: int = 64,
    traffic_class: int = 0,
    flags: int = 0,
    identification: int = 0,
) -> bytes:
    """A packet of the family of its addresses (4 or 16 bytes each), without options.

    flags: the 16 bits of IPv4 flags and fragment offset; neither they nor the identification
    exist in IPv6.
    """
    if len(source) == 4:
        header = bytearray(
            pack(
                "!BBHHHBBH4s4s",
                0x45,
                traffic_class,
                IPV4_HEADER + len(payload),
                identification,
                flags,
                hop_limit,
                protocol,
                0,
                source,
                destination,
            )
        )
        fill_in_v4_checksum(header, 0, IPV4_HEADER)
        return bytes(header) + payload
    word = 6 << 28 | traffic_class << 20
    return pack("!IHBB", word, len(payload), protocol, hop_limit) + source + destination + payload


def format_address(address: bytes) -> str:
    """An address of 4 or 16 bytes as people write it."""
    if len(address) == 4:
        return "{}.{}.{}.{}".format(*address)
    return str(ip_address(address))
