"""UDP (RFC 768; RFC 8200 8.1): what a datagram must be to be carried, and building one.

An Envelope is what all datagrams from one endpoint to another have in common, summed up once, so
that a datagram costs one sum over its payload and one `pack`.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

from router.wire import icmp, ip, offload
from router.wire.checksum import is_valid, ones_complement_sum, pseudo_header
from router.wire.headers import UDP_CHECKSUM, UDP_LENGTH

HEADER: Final = 8
UNKNOWN_HOP_LIMIT: Final = 1
"""In a quote: what is left of the hop limit where most errors arise."""

Bytes = bytes | bytearray | memoryview

_V4: Final = Struct("!BBHHHBBH4s4sHHHH")
_V6: Final = Struct("!IHBB16s16sHHHH")
_FRAMED_V4: Final = Struct("!xBHxxHBxxx12sHH")
_FRAMED_V6: Final = Struct("!HxxHxB36sHH")
_ERROR: Final = Struct("!BBHI")


def length(packet: ip.Packet) -> int | None:
    """The length of an unfragmented datagram by its own header, in bytes, header included; None
    when that is cut off or cannot be. The IP packet may be longer."""
    data, start = packet.data, packet.payload
    if len(data) < start + HEADER:
        return None
    field = start + UDP_LENGTH
    stated = data[field] << 8 | data[field + 1]
    return stated if HEADER <= stated <= len(data) - start else None


class Framed(NamedTuple):
    """The first datagram of a frame, where nothing about it is unusual; see `framed`.

    key         addresses and ports, as they stand one behind the other
    start, end  of its payload, in the frame
    """

    key: bytes
    start: int
    end: int
    hop_limit: int
    traffic_class: int
    dont_fragment: int


def framed(frame: bytearray, size: int) -> Framed | None:
    """The datagram that the first `size` bytes of a frame hold (see router.wire.offload); None if
    it is none, is damaged, or has options, extension headers, fragments or padding."""
    if frame[offload.HEADER] == 0x45:
        if frame[offload.AT_V4_PROTOCOL] != ip.UDP:
            return None
        tos, total, fragment, hop_limit, key, length, field = _FRAMED_V4.unpack_from(
            frame, offload.HEADER
        )
        start = offload.HEADER + ip.IPV4_HEADER
        unusual = fragment & ~ip.DONT_FRAGMENT or total != size - offload.HEADER
        traffic_class, dont_fragment, addresses = tos, fragment, 8
    elif frame[offload.HEADER] >> 4 == 6 and frame[offload.AT_V6_NEXT_HEADER] == ip.UDP:
        word, total, hop_limit, key, length, field = _FRAMED_V6.unpack_from(frame, offload.HEADER)
        start = offload.HEADER + ip.IPV6_HEADER
        unusual = total != size - start
        traffic_class, dont_fragment, addresses = word >> 4 & 0xFF, ip.DONT_FRAGMENT, 32
    else:
        return None
    if unusual or length != size - start or length < HEADER or frame[1]:
        return None
    unfinished = frame[0] & offload.NEEDS_CHECKSUM
    if not unfinished and not (
        field and is_valid(frame[start - addresses : size], length + ip.UDP)
    ):
        return None
    return Framed(key, start + HEADER, size, hop_limit, traffic_class, dont_fragment)


def has_valid_checksum(packet: ip.Packet, size: int) -> bool:
    """Whether the checksum of a datagram of `size` bytes is right.

    Zero means that there is none, which IPv4 alone allows (RFC 768; RFC 8200, section 8.1).
    """
    data, start = packet.data, packet.payload
    field = start + UDP_CHECKSUM
    if not data[field] and not data[field + 1]:
        return packet.version == 4
    if start == (ip.IPV4_HEADER if packet.version == 4 else ip.IPV6_HEADER):
        # The addresses stand right before the datagram: one sum over all three.
        addresses = 8 if packet.version == 4 else 32
        return is_valid(data[start - addresses : start + size], size + ip.UDP)
    initial = pseudo_header(packet.source, packet.destination, size, ip.UDP)
    return is_valid(data[start : start + size], initial)


class Envelope:
    """From one endpoint to another; addresses of 4 or 16 bytes.

    headers: how many bytes a packet has before its payload, if IP has no options.
    """

    __slots__ = (
        "_address_sum",
        "_ports",
        "_udp_sum",
        "destination",
        "headers",
        "source",
        "version",
    )

    def __init__(
        self, source: bytes, source_port: int, destination: bytes, destination_port: int
    ) -> None:
        self.version = 4 if len(source) == 4 else 6
        self.headers = HEADER + (ip.IPV4_HEADER if self.version == 4 else ip.IPV6_HEADER)
        self.source = source
        self.destination = destination
        self._ports = (source_port, destination_port)
        self._address_sum = ones_complement_sum(source + destination)
        self._udp_sum = self._address_sum + ip.UDP + source_port + destination_port

    def seal(
        self,
        payload: Bytes,
        hop_limit: int,
        traffic_class: int = 0,
        identification: int = 0,
        *,
        dont_fragment: int = 0,
    ) -> bytes:
        """The whole packet.

        identification: of the packet, in IPv4; not zero where fragments of it may meet others.
        dont_fragment: what IPv4 has in its place if it must stay whole, ip.DONT_FRAGMENT; or 0.
        """
        size = HEADER + len(payload)
        number = int.from_bytes(payload, "big")
        if size & 1:
            number <<= 8
        # Never all zero, and a sum that comes out as zero is sent as all ones (RFC 768).
        field = (number + self._udp_sum + size + size) % 0xFFFF ^ 0xFFFF
        header = self.header(size, field, hop_limit, traffic_class, identification, dont_fragment)
        return header + payload

    def run(
        self,
        payloads: Sequence[Bytes],
        hop_limit: int,
        traffic_class: int,
        identification: int,
    ) -> list[Bytes]:
        """The parts of one frame that stands for a datagram for each payload.

        payloads: none empty, all of one length but for the last, which may be shorter; as many as
        fit in one packet. The system cuts it, numbers the packets from `identification`, and sums
        up (see router.wire.offload).
        """
        size = len(payloads[0])
        total = HEADER + size * (len(payloads) - 1) + len(payloads[-1])
        start = ip.IPV4_HEADER if self.version == 4 else ip.IPV6_HEADER
        unfinished = (self._address_sum + ip.UDP + total) % 0xFFFF or 0xFFFF
        return [
            offload.FIELDS.pack(
                offload.NEEDS_CHECKSUM,
                offload.SEGMENT_UDP,
                start + HEADER,
                size,
                start,
                UDP_CHECKSUM,
            ),
            self.header(total, unfinished, hop_limit, traffic_class, identification),
            *payloads,
        ]

    def header(
        self,
        size: int,
        checksum: int,
        hop_limit: int,
        traffic_class: int,
        identification: int,
        flags: int = 0,
    ) -> bytes:
        """IP and UDP header of a datagram of `size` bytes, UDP header included."""
        if self.version == 6:
            word, ports = 6 << 28 | traffic_class << 20, self._ports
            return _V6.pack(
                word, size, ip.UDP, hop_limit, self.source, self.destination, *ports, size, checksum
            )
        total = ip.IPV4_HEADER + size
        words = 0x4500 + traffic_class + total + identification + flags + (hop_limit << 8) + ip.UDP
        header_sum = ((words + self._address_sum) % 0xFFFF or 0xFFFF) ^ 0xFFFF
        source_port, destination_port = self._ports
        return _V4.pack(
            0x45,
            traffic_class,
            total,
            identification,
            flags,
            hop_limit,
            ip.UDP,
            header_sum,
            self.source,
            self.destination,
            source_port,
            destination_port,
            size,
            checksum,
        )

    def error(
        self,
        sender: bytes,
        message: icmp.Message,
        payload: bytes,
        size: int,
        hop_limit: int = 64,
        traffic_class: int = 0,
    ) -> bytes:
        """An ICMP error to the source about a datagram in this envelope, from the router `sender`.

        payload: as much of the datagram's as is known; size: of the whole datagram with its UDP
        header, which is at least that.

        The checksum in the quote is right where the whole payload is known; else it is
        zero, which means none. The quote has the length of RFC 1812 4.3.2.3 and RFC 4443 2.4 c.
        """
        if size == HEADER + len(payload):
            quote = self.seal(payload, UNKNOWN_HOP_LIMIT)
        else:
            quote = self.header(size, 0, UNKNOWN_HOP_LIMIT, 0, 0) + payload
        header = ip.IPV4_HEADER if self.version == 4 else ip.IPV6_HEADER
        room = icmp.QUOTE_LIMIT[self.version] - header - _ERROR.size
        body = _ERROR.pack(message.kind, message.code, 0, message.value) + quote[:room]
        return ip.build(
            sender,
            self.source,
            icmp.protocol_of(self.version),
            icmp.message(self.version, sender, self.source, body),
            hop_limit=hop_limit,
            traffic_class=traffic_class,
        )
