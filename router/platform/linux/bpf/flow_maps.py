"""What is known of the flows whose packets a program at the TUN carries: the maps that it shares
with the guard and the router, and where a packet has what is needed.

    flows     addresses, ports, protocol -> what to do with the packets that have them, and a slot
    slots     [slot] -> what follows a flow: see SLOT

Of an ICMP query the key has type, code and identifier in the place of ports.

Must not know: what is done with packets.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from typing import Final, NamedTuple

from router.wire import icmp, ip
from router.wire.headers import (
    V4_CHECKSUM,
    V4_PROTOCOL,
    V4_SOURCE,
    V4_TTL,
    V6_HOP_LIMIT,
    V6_NEXT_HEADER,
    V6_SOURCE,
)

SLOT: Final = Struct("=7Q")
"""Generation; when the last packet was translated, in nanoseconds of CLOCK_MONOTONIC; packets;
bytes. Of a flow that is forwarded besides: how many packets have been left to the router, and how
many of these it has sent on, nothing is forwarded unless these two are the same; and until when
senders wait for that, in nanoseconds of CLOCK_MONOTONIC."""
AT_LAST, AT_PACKETS, AT_BYTES, AT_LEFT, AT_SENT_ON, AT_WAIT_UNTIL = 8, 16, 24, 32, 40, 48

REST: Final = Struct("=IIIIIIII16s")
"""Of the value of a flow, behind the addresses and ports that packets get. See AT_ADDRESSES_SUM and
the next ones, which count from there."""
AT_ADDRESSES_SUM, AT_PORTS_SUM = 0, 4
"""What to add to the checksums for addresses, and for ports."""
AT_SLOT, AT_GENERATION = 8, 12
AT_DSCP: Final = 16
"""Of the flow, or ANY."""
AT_INTERFACE: Final = 20
"""The index of the one that packets are forwarded by; 0 if they are rewritten."""
AT_MTU: Final = 24
"""Bytes of the longest packet that may leave there."""
AT_NEXT_HOP: Final = 28
"""struct bpf_redir_neigh: address family and address of the neighbour that they go to there."""
NEXT_HOP_SIZE: Final = 20
ANY: Final = 0x100

HEADERS: Final = -64
NUMBER: Final = -72
DEADLINE: Final = -80
"""On the stack: the headers, the number of a slot, and when a sender stops waiting."""


class Family(NamedTuple):
    """Where a packet has what is needed. upper: the header behind that of IP; ends: addresses and
    ports, and their size; key_size: with the protocol; icmp, echo: the numbers of the protocol and
    of its query; checksum: of the IP header."""

    upper: int
    ends: int
    ends_size: int
    key_size: int
    icmp: int
    echo: int
    protocol: int
    hop_limit: int
    traffic_class_bit: int
    checksum: int | None


FAMILY: Final = {
    4: Family(
        *(ip.IPV4_HEADER, V4_SOURCE.start, 12, 16, ip.ICMP, icmp.ECHO_REQUEST),
        *(V4_PROTOCOL, V4_TTL, 0, V4_CHECKSUM),
    ),
    6: Family(
        *(ip.IPV6_HEADER, V6_SOURCE.start, 36, 40, ip.ICMPV6, icmp.ECHO_REQUEST_V6),
        *(V6_NEXT_HEADER, V6_HOP_LIMIT, 4, None),
    ),
}


class Maps(NamedTuple):
    """Descriptors: hashes by IP version, and the array of slots."""

    flows: Mapping[int, int]
    slots: int


def value_size(version: int) -> int:
    """Of the value of a flow."""
    return FAMILY[version].ends_size + REST.size
