"""Translation of ICMP errors from the inside about TCP segments to an application, for our kernel.

A router or host on the path to the application reports that a segment was too big or that the
application is unreachable. The quote has the address of the application's destination; our kernel
sent the segment from a listener to an alias (see router.flows.tcp). The kernel matches the quoted
addresses, ports and sequence number, so addresses and ports are translated back; the checksum of
the quoted segment stays, as only the beginning of the segment is there.
"""

from __future__ import annotations

from struct import unpack_from

from router.wire import icmp, ip
from router.wire.headers import (
    ICMP_CHECKSUM,
    ICMP_HEADER,
    PORTS,
    V4_ADDRESSES,
    V4_FRAGMENT,
    V4_PROTOCOL,
    V6_ADDRESSES,
    V6_NEXT_HEADER,
    fill_in_v4_checksum,
)


def quoted_key(error: ip.Packet) -> bytes | None:
    """Source, destination and ports of the segment that an ICMP error quotes; None where it quotes
    something else, or too little."""
    quote = error.data[error.payload + ICMP_HEADER :]
    if error.version == 4:
        start = (quote[0] & 0x0F) << 2 if quote else 0
        sound = start >= ip.IPV4_HEADER and len(quote) >= start + PORTS and quote[0] >> 4 == 4
        if not sound or quote[V4_PROTOCOL] != ip.TCP:
            return None
        if unpack_from("!H", quote, V4_FRAGMENT)[0] & ip.FRAGMENT_OFFSET:
            return None
        return quote[V4_ADDRESSES] + quote[start : start + PORTS]
    start = ip.IPV6_HEADER
    if len(quote) < start + PORTS or quote[0] >> 4 != 6 or quote[V6_NEXT_HEADER] != ip.TCP:
        return None
    return quote[V6_ADDRESSES] + quote[start : start + PORTS]


def translated(error: ip.Packet, source: bytes, key: bytes) -> bytes:
    """The error to our kernel: from `source`, about a segment of `key`.

    error: one of which `quoted_key` has found the key; key: source, destination and ports.
    """
    quote = bytearray(error.data[error.payload + ICMP_HEADER :])
    if error.version == 4:
        start = (quote[0] & 0x0F) << 2
        quote[V4_ADDRESSES] = key[:-PORTS]
        fill_in_v4_checksum(quote, 0, start)
    else:
        start = ip.IPV6_HEADER
        quote[V6_ADDRESSES] = key[:-PORTS]
    quote[start : start + PORTS] = key[-PORTS:]
    destination = key[: len(source)]
    header = bytearray(error.data[error.payload : error.payload + ICMP_HEADER])
    header[ICMP_CHECKSUM : ICMP_CHECKSUM + 2] = b"\0\0"
    body = icmp.message(error.version, source, destination, bytes(header + quote))
    return ip.build(source, destination, icmp.protocol_of(error.version), body)
