"""Packets made by scapy: an independent implementation to compare the packet layer with."""

from __future__ import annotations

import logging

logging.getLogger("scapy").setLevel(logging.ERROR)

from scapy.layers.inet import ICMP, IP, TCP, UDP, defragment  # noqa: E402 - quiet first
from scapy.layers.inet6 import (  # noqa: E402
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    defragment6,
)
from scapy.packet import Packet, Raw  # noqa: E402

__all__ = [
    "ICMP",
    "IP",
    "TCP",
    "UDP",
    "ICMPv6EchoReply",
    "ICMPv6EchoRequest",
    "IPv6",
    "IPv6ExtHdrDestOpt",
    "IPv6ExtHdrFragment",
    "IPv6ExtHdrHopByHop",
    "Packet",
    "Raw",
    "decoded",
    "defragmented",
    "echo_request",
]

INSIDE = {4: "192.168.7.1", 6: "fd77::1"}
FAR = {4: "198.51.100.7", 6: "2001:db8:100::7"}


def echo_request(
    version: int,
    *,
    identifier: int = 7,
    sequence: int = 1,
    payload: bytes = b"0123456789abcdef" * 3 + b"01234567",
    hop_limit: int = 64,
    source: str | None = None,
    destination: str | None = None,
) -> bytes:
    source = source or INSIDE[version]
    destination = destination or FAR[version]
    if version == 4:
        header = IP(src=source, dst=destination, ttl=hop_limit, flags="DF")
        return bytes(header / ICMP(id=identifier, seq=sequence) / payload)
    six = IPv6(src=source, dst=destination, hlim=hop_limit)
    return bytes(six / ICMPv6EchoRequest(id=identifier, seq=sequence, data=payload))


def decoded(data: bytes) -> Packet:
    """The packet as scapy reads it, after checking that scapy would write every checksum so."""
    packet: Packet = IP(data) if data[0] >> 4 == 4 else IPv6(data)
    again = packet.copy()
    layer = again
    while layer and not isinstance(layer, Raw):
        for field in ("chksum", "cksum"):
            if field in layer.fields:
                delattr(layer, field)
        if type(layer).__name__ in ("IPerror", "IPerror6"):
            break
        layer = layer.payload
    assert bytes(again) == data, "a checksum or length is not what scapy computes"
    return packet


def defragmented(fragments: list[bytes]) -> Packet:
    """The packet that scapy puts together from `fragments`, which come in any order."""
    whole: Packet
    if fragments[0][0] >> 4 == 6:
        whole = defragment6([IPv6(fragment) for fragment in fragments])  # type: ignore[no-untyped-call]
        return whole
    (whole,) = defragment([IP(fragment) for fragment in fragments])  # type: ignore[no-untyped-call]
    return whole
