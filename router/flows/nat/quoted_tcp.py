"""ICMP errors from inside about segments that an application was sent, for our own kernel to see.

A router or host on the way to the application says that a segment was too big or that nobody is
there. What it quotes went from the host that the application talks to; the kernel that sent it
knows it as a segment from a listener of ours to an alias (see flows.tcp). It acts on what is quoted
of the ports and the sequence number, so addresses and ports are put back; the checksum of the
quoted segment says nothing, as only its beginning is there.
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
    """The error as the kernel is to see it: from `source`, about a segment of `key`.

    error: one that `quoted_key` has understood; key: source, destination and ports.
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
