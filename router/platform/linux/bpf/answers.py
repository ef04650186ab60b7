"""The socket filter that counts answers.

It is attached to a packet socket (SOCK_DGRAM) of one interface, for which a packet begins behind
the link header, and accepts nothing: so the kernel makes no copy of any packet.

    pass by   what is not for this machine, is neither IPv4 nor IPv6, or belongs to a VLAN
    numbers   the prefix of the source address -> number
    places    interface, number, destination address -> counter
    pass by   ICMP errors, and what a link needs for itself (neighbour discovery, MLD)
    counters  [counter] -> packets and bytes are added

Always true: what the system has put together (GRO), or has yet to cut, counts as the packets of the
network that it stands for, with a header each.

Must not know: what numbers and counters stand for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from socket import htons
from typing import Final, NamedTuple

from router.platform.linux.bpf.instructions import (
    BYTE,
    HALF,
    R0,
    R1,
    R2,
    R6,
    R7,
    R8,
    R9,
    STACK,
    Line,
    add,
    add_atomically,
    add_value,
    divide,
    from_network,
    go_to,
    if_above,
    if_below,
    if_equal,
    leave,
    load,
    mask,
    move,
    multiply,
    put,
    shift_left,
    shift_right,
    store,
    store_value,
    subtract,
    unless_equal,
    with_own_labels,
)
from router.platform.linux.bpf.packet import (
    ETHERTYPE,
    GSO_SIZE,
    INTERFACE,
    LENGTH,
    PACKET_TYPE,
    PROTOCOL,
    VLAN,
    load_bytes,
    look_up,
)
from router.wire import icmp, ip

VLAN_ID: Final = 0xFFF
PACKET_HOST: Final = 0
"""linux/if_packet.h"""

HEADER: Final = -40
PREFIX: Final = -64
PLACE: Final = -88
COUNTER: Final = -92
SCRATCH: Final = -96
"""On the stack: the IP header; the keys of the three maps, see `prefix_key` and `place_key`; one
byte that is looked at."""
TCP_OFFSET: Final = 12
UDP_HEADER: Final = 8


class Family(NamedTuple):
    """Where a header has what is needed, in bytes."""

    header: int
    address: int
    source: int
    destination: int
    protocol: int
    length: int


FAMILY: Final = {
    4: Family(header=20, address=4, source=12, destination=16, protocol=9, length=2),
    6: Family(header=40, address=16, source=8, destination=24, protocol=6, length=4),
}
V4_FRAGMENT: Final = 6
V6_FIRST_QUERY: Final = 128
V6_OF_THE_LINK: Final = (130, 137)
"""From MLD (RFC 2710) to redirect (RFC 4861)."""


class Maps(NamedTuple):
    """Descriptors of the maps of a family. `numbers` is an LPM trie, `places` a hash, `counters` an
    array of two numbers of eight bytes."""

    numbers: int
    places: int
    counters: int


def program(maps: Mapping[int, Maps]) -> list[Line]:
    """See the module. maps: by IP version."""
    return [
        move(R6, R1),
        load(R0, R6, PACKET_TYPE),
        unless_equal(R0, PACKET_HOST, "end"),
        load(R0, R6, VLAN),
        mask(R0, VLAN_ID),
        unless_equal(R0, 0, "end"),
        load(R0, R6, PROTOCOL),
        if_equal(R0, htons(ETHERTYPE[6]), "v6"),
        unless_equal(R0, htons(ETHERTYPE[4]), "end"),
        *with_own_labels(_count(4, maps[4]), "v4"),
        go_to("end"),
        "v6",
        *with_own_labels(_count(6, maps[6]), "v6"),
        "end",
        put(R0, 0),
        leave(),
    ]


def _count(version: int, maps: Maps) -> list[Line]:
    """A packet of a family."""
    family = FAMILY[version]
    return [
        put(R2, 0),
        *load_bytes(HEADER, family.header),
        *_find_number(family, maps.numbers),
        *_find_place(family, maps.places),
        *(_pass_by_v4() if version == 4 else _pass_by_v6()),
        "count",
        *_measure(version),
        "add",
        store(STACK, COUNTER, R7),
        *look_up(maps.counters, COUNTER),
        add_atomically(R0, 0, R9),
        add_atomically(R0, 8, R8),
    ]


def _copy(size: int, start: int, to: int) -> Sequence[Line]:
    return [
        line
        for at in range(0, size, 4)
        for line in (load(R0, STACK, start + at), store(STACK, to + at, R0))
    ]


def _find_number(family: Family, numbers: int) -> Sequence[Line]:
    """R7: that of the source."""
    return [
        store_value(STACK, PREFIX, 8 * family.address),
        *_copy(family.address, HEADER + family.source, PREFIX + 4),
        *look_up(numbers, PREFIX),
        load(R7, R0, 0),
    ]


def _find_place(family: Family, places: int) -> Sequence[Line]:
    """R7: the counter."""
    return [
        load(R0, R6, INTERFACE),
        store(STACK, PLACE, R0),
        store(STACK, PLACE + 4, R7),
        *_copy(family.address, HEADER + family.destination, PLACE + 8),
        *look_up(places, PLACE),
        load(R7, R0, 0),
    ]


def _pass_by_v4() -> Sequence[Line]:
    return [
        load(R0, STACK, HEADER + FAMILY[4].protocol, BYTE),
        unless_equal(R0, ip.ICMP, "count"),
        load(R0, STACK, HEADER + V4_FRAGMENT, HALF),
        from_network(R0),
        mask(R0, 0x1FFF),
        unless_equal(R0, 0, "count"),
        *_v4_header_length(R2),
        *load_bytes(SCRATCH, 1),
        load(R0, STACK, SCRATCH, BYTE),
        *(if_equal(R0, kind, "end") for kind in sorted(icmp.ERROR_TYPES)),
    ]


def _pass_by_v6() -> Sequence[Line]:
    first, last = V6_OF_THE_LINK
    return [
        load(R0, STACK, HEADER + FAMILY[6].protocol, BYTE),
        unless_equal(R0, icmp.protocol_of(6), "count"),
        put(R2, FAMILY[6].header),
        *load_bytes(SCRATCH, 1),
        load(R0, STACK, SCRATCH, BYTE),
        if_below(R0, V6_FIRST_QUERY, "end"),
        if_below(R0, first, "count"),
        if_above(R0, last, "count"),
        go_to("end"),
    ]


def _measure(version: int) -> Sequence[Line]:
    """R9 packets, R8 bytes."""
    family = FAMILY[version]
    besides = 0 if version == 4 else family.header
    headers = _v4_header_length(R8) if version == 4 else [put(R8, family.header)]
    return [
        load(R9, R6, GSO_SIZE),
        unless_equal(R9, 0, "several"),
        load(R8, STACK, HEADER + family.length, HALF),
        from_network(R8),
        add_value(R8, besides),
        put(R9, 1),
        go_to("add"),
        "several",
        *headers,
        load(R0, STACK, HEADER + family.protocol, BYTE),
        if_equal(R0, ip.TCP, "tcp"),
        add_value(R8, UDP_HEADER),
        go_to("divide"),
        "tcp",
        move(R2, R8),
        add_value(R2, TCP_OFFSET),
        *load_bytes(SCRATCH, 1),
        load(R0, STACK, SCRATCH, BYTE),
        shift_right(R0, 4),
        shift_left(R0, 2),
        add(R8, R0),
        "divide",
        load(R1, R6, LENGTH),
        subtract(R1, R8),
        move(R0, R1),
        add(R0, R9),
        add_value(R0, -1),
        divide(R0, R9),
        move(R9, R0),
        multiply(R8, R0),
        add(R8, R1),
    ]


def _v4_header_length(to: int) -> Sequence[Line]:
    return [load(to, STACK, HEADER, BYTE), mask(to, 0x0F), shift_left(to, 2)]
