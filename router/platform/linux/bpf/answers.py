"""The program that counts answers. It is given what an interface receives, at one of two places:

    INGRESS   of traffic control, where a packet may begin with a link header (tcx, Linux 6.6)
    SOCKET    a packet socket (SOCK_DGRAM), where it begins behind that

Packets go on as they are: a socket is given none, and at the ingress the next program is.

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

from collections.abc import Callable, Mapping, Sequence
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
    load_network_bytes,
    look_up,
)
from router.wire import icmp, ip

VLAN_ID: Final = 0xFFF
PACKET_HOST: Final = 0
"""linux/if_packet.h"""

HEADER: Final = -40
COUNTER: Final = -44
SCRATCH: Final = -48
OFFSET: Final = -52
"""On the stack: the IP header, in which the keys of prefixes and places are made, see `prefix_key`
and `place_key`; the key of the counters; one byte that is looked at; an argument that is kept."""
TCP_OFFSET: Final = 12
UDP_HEADER: Final = 8
HOP_BY_HOP: Final = 0
JUMBO: Final = 8
"""Bytes of the option that the system writes in front of what is too long for IPv6 (RFC 2675)."""


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


class Position(NamedTuple):
    """What differs between places. result: of the program; link_header: bytes of `LENGTH` in front
    of the IP header; load: bytes from offset R2 of the IP header to the stack, with a label."""

    result: int
    link_header: int
    load: Callable[[int, int, str], Sequence[Line]]


def _load_at_ingress(to: int, size: int, label: str) -> Sequence[Line]:
    return load_network_bytes(to, size, OFFSET, label)


def _load_at_socket(to: int, size: int, _: str) -> Sequence[Line]:
    return load_bytes(to, size)


NEXT: Final = -1
"""TCX_NEXT: go on with the next program."""
ETHERNET_HEADER: Final = 14
"""LENGTH is needed for what is too long for the field of an IP header (BIG TCP), which links of
Ethernet are made for."""
INGRESS: Final = Position(NEXT, ETHERNET_HEADER, _load_at_ingress)
SOCKET: Final = Position(0, 0, _load_at_socket)


def program(maps: Mapping[int, Maps], position: Position) -> list[Line]:
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
        *with_own_labels(_count(4, maps[4], position), "v4"),
        go_to("end"),
        "v6",
        *with_own_labels(_count(6, maps[6], position), "v6"),
        "end",
        put(R0, position.result),
        leave(),
    ]


def _count(version: int, maps: Maps, position: Position) -> list[Line]:
    """A packet of a family."""
    family = FAMILY[version]
    return [
        put(R2, 0),
        *position.load(HEADER, family.header, "header"),
        load(R8, STACK, HEADER + family.protocol, BYTE),
        load(R9, STACK, HEADER + family.length, HALF),
        from_network(R9),
        *_find_number(family, maps.numbers),
        *_find_place(family, maps.places),
        store(STACK, COUNTER, R7),
        *(_pass_by_v4(position) if version == 4 else _pass_by_v6(position)),
        "count",
        *_measure(version, position),
        "add",
        *look_up(maps.counters, COUNTER),
        add_atomically(R0, 0, R7),
        add_atomically(R0, 8, R9),
    ]


def _find_number(family: Family, numbers: int) -> Sequence[Line]:
    """R7: that of the source. The length of the prefix is written in front of the address."""
    key = HEADER + family.source - 4
    return [
        store_value(STACK, key, 8 * family.address),
        *look_up(numbers, key),
        load(R7, R0, 0),
    ]


def _find_place(family: Family, places: int) -> Sequence[Line]:
    """R7: the counter. Interface and number are written in front of the destination."""
    key = HEADER + family.destination - 8
    return [
        load(R0, R6, INTERFACE),
        store(STACK, key, R0),
        store(STACK, key + 4, R7),
        *look_up(places, key),
        load(R7, R0, 0),
    ]


def _pass_by_v4(position: Position) -> Sequence[Line]:
    return [
        unless_equal(R8, ip.ICMP, "count"),
        load(R0, STACK, HEADER + V4_FRAGMENT, HALF),
        from_network(R0),
        mask(R0, 0x1FFF),
        unless_equal(R0, 0, "count"),
        *_load_header_length(4),
        *position.load(SCRATCH, 1, "icmp"),
        load(R0, STACK, SCRATCH, BYTE),
        *(if_equal(R0, kind, "end") for kind in sorted(icmp.ERROR_TYPES)),
    ]


def _pass_by_v6(position: Position) -> Sequence[Line]:
    first, last = V6_OF_THE_LINK
    return [
        unless_equal(R8, icmp.protocol_of(6), "count"),
        *_load_header_length(6),
        *position.load(SCRATCH, 1, "icmp"),
        load(R0, STACK, SCRATCH, BYTE),
        if_below(R0, V6_FIRST_QUERY, "end"),
        if_below(R0, first, "count"),
        if_above(R0, last, "count"),
        go_to("end"),
    ]


def _measure(version: int, position: Position) -> Sequence[Line]:
    """R7 packets, R9 bytes. At first R8 has the protocol and R9 the length, as in the IP header."""
    besides = 0 if version == 4 else FAMILY[6].header
    return [
        load(R7, R6, GSO_SIZE),
        unless_equal(R7, 0, "several"),
        add_value(R9, besides),
        put(R7, 1),
        go_to("add"),
        "several",
        *_load_header_length(version),
        if_equal(R9, 0, "too long"),
        add_value(R9, besides),
        if_equal(R8, ip.TCP, "tcp"),
        move(R8, R2),
        add_value(R8, UDP_HEADER),
        go_to("divide"),
        "too long",
        load(R9, R6, LENGTH),
        add_value(R9, -position.link_header),
        *(_leave_out_jumbo() if version == 6 else ()),
        "tcp",
        move(R8, R2),
        "tcp header",
        add_value(R2, TCP_OFFSET),
        *position.load(SCRATCH, 1, "offset"),
        load(R0, STACK, SCRATCH, BYTE),
        shift_right(R0, 4),
        shift_left(R0, 2),
        add(R8, R0),
        "divide",
        subtract(R9, R8),
        move(R0, R9),
        add(R0, R7),
        add_value(R0, -1),
        divide(R0, R7),
        move(R7, R0),
        multiply(R8, R0),
        add(R9, R8),
    ]


def _leave_out_jumbo() -> Sequence[Line]:
    """The packets of the network do not have this option."""
    return [
        unless_equal(R8, HOP_BY_HOP, "tcp"),
        add_value(R9, -JUMBO),
        move(R8, R2),
        add_value(R2, JUMBO),
        go_to("tcp header"),
    ]


def _load_header_length(version: int) -> Sequence[Line]:
    """R2: of the IP header."""
    if version == 6:
        return [put(R2, FAMILY[6].header)]
    return [load(R2, STACK, HEADER, BYTE), mask(R2, 0x0F), shift_left(R2, 2)]
