"""The program that rewrites TCP segments of known flows at the TUN and gives them back to the
system there (struct __sk_buff, BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_EGRESS in linux/bpf.h): they do not
pass the router, and nothing copies them.

    flows     addresses and ports -> those to put in their place, and a slot
    slots     [slot] -> what follows a flow: see SLOT

Left to the router is what is no plain segment of a flow in the map: anything with SYN, FIN or RST,
options of IPv4, extension headers, a changed traffic class; the first after QUIET, which may be a
keepalive probe; and all of them when the slot has another generation than the flow.

Always true: checksums that were right stay right, those that are still to be completed as well.

Must not know: which flows are in the map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from socket import htons
from struct import Struct
from typing import Final, NamedTuple

from router.platform.linux.bpf.instructions import (
    BYTE,
    DOUBLE,
    HALF,
    R0,
    R1,
    R2,
    R3,
    R4,
    R5,
    R6,
    R7,
    R8,
    R9,
    STACK,
    Line,
    add_atomically,
    call,
    from_network,
    if_above_signed,
    if_equal,
    leave,
    load,
    mask,
    move,
    put,
    shift_right,
    store,
    subtract,
    unless_equal,
    with_own_labels,
)
from router.platform.linux.bpf.packet import (
    ETHERTYPE,
    INTERFACE,
    LENGTH,
    MARK,
    PROTOCOL,
    load_bytes,
    look_up,
)
from router.wire import ip, tcp
from router.wire.headers import (
    TCP_CHECKSUM,
    TCP_FLAGS,
    V4_CHECKSUM,
    V4_FRAGMENT,
    V4_PROTOCOL,
    V4_SOURCE,
    V6_NEXT_HEADER,
    V6_SOURCE,
)

NANOSECONDS: Final = 5
STORE_BYTES: Final = 9
REPLACE_L3_SUM: Final = 10
REPLACE_L4_SUM: Final = 11
REDIRECT: Final = 23
"""Functions of the kernel (linux/bpf.h, enum bpf_func_id)."""
PSEUDO_HEADER: Final = 0x10
"""BPF_F_PSEUDO_HDR: what is replaced counts in the pseudo-header."""
INWARD: Final = 1
"""BPF_F_INGRESS: as if the interface had received it."""
PASS: Final = 0

SLOT: Final = Struct("=QQQQ")
"""Generation; when the last segment passed, in nanoseconds of CLOCK_MONOTONIC; packets; bytes."""
AT_LAST, AT_PACKETS, AT_BYTES = 8, 16, 24
REST: Final = Struct("=IIIII")
"""Of the value of a flow, behind addresses and ports: what to add to the checksums for addresses,
and for ports; the slot and its generation; the DSCP of the flow, or ANY."""
ANY: Final = 0x100
DSCP: Final = 0xFC
QUIET: Final = 600_000_000
"""Nanoseconds; a little more than in router.engine.tcp.keepalive, whose clock is that of a loop."""

HEADERS: Final = -64
NUMBER: Final = -72
"""On the stack: the headers, and the number of a slot."""


class Family(NamedTuple):
    """Where a packet has what is needed. key: addresses and ports, and their size; checksum: of
    the IP header."""

    tcp: int
    key: int
    key_size: int
    protocol: int
    traffic_class_bit: int
    checksum: int | None


FAMILY: Final = {
    4: Family(ip.IPV4_HEADER, V4_SOURCE.start, 12, V4_PROTOCOL, 0, V4_CHECKSUM),
    6: Family(ip.IPV6_HEADER, V6_SOURCE.start, 36, V6_NEXT_HEADER, 4, None),
}


class Maps(NamedTuple):
    """Descriptors: hashes by IP version, and the array of slots."""

    flows: Mapping[int, int]
    slots: int


def value_size(version: int) -> int:
    """Of the value of a flow."""
    return FAMILY[version].key_size + REST.size


def program(maps: Maps) -> list[Line]:
    """See the module."""
    return [
        move(R6, R1),
        load(R0, R6, PROTOCOL),
        if_equal(R0, htons(ETHERTYPE[6]), "v6"),
        unless_equal(R0, htons(ETHERTYPE[4]), "end"),
        *with_own_labels(_carry(4, maps), "v4"),
        "v6",
        *with_own_labels(_carry(6, maps), "v6"),
        "end",
        put(R0, PASS),
        leave(),
    ]


def _carry(version: int, maps: Maps) -> list[Line]:
    family = FAMILY[version]
    return [
        *_check_headers(version),
        *look_up(maps.flows[version], HEADERS + family.key),
        move(R7, R0),
        load(R0, R7, family.key_size + 8),
        store(STACK, NUMBER, R0),
        *look_up(maps.slots, NUMBER),
        move(R8, R0),
        *_check_state(family),
        store(R8, AT_LAST, R9, DOUBLE),
        put(R1, 1),
        add_atomically(R8, AT_PACKETS, R1),
        load(R1, R6, LENGTH),
        add_atomically(R8, AT_BYTES, R1),
        *_rewrite(family),
        put(R0, 0),
        store(R6, MARK, R0),
        load(R1, R6, INTERFACE),
        put(R2, INWARD),
        call(REDIRECT),
        leave(),
    ]


def _check_headers(version: int) -> Sequence[Line]:
    """Whether it is a plain segment, whose headers are on the stack then."""
    family = FAMILY[version]
    lines: list[Line] = [
        put(R2, 0),
        *load_bytes(HEADERS, family.tcp + tcp.HEADER),
        load(R0, STACK, HEADERS + family.protocol, BYTE),
        unless_equal(R0, ip.TCP, "end"),
        load(R0, STACK, HEADERS + family.tcp + TCP_FLAGS, BYTE),
        mask(R0, tcp.SYN | tcp.FIN | tcp.RST),
        unless_equal(R0, 0, "end"),
    ]
    if version == 4:
        lines += [
            load(R0, STACK, HEADERS, BYTE),
            unless_equal(R0, 0x45, "end"),
            load(R0, STACK, HEADERS + V4_FRAGMENT, HALF),
            from_network(R0),
            mask(R0, ip.MORE_FRAGMENTS | ip.FRAGMENT_OFFSET),
            unless_equal(R0, 0, "end"),
        ]
    return lines


def _check_state(family: Family) -> Sequence[Line]:
    """Generation, traffic class and silence; R9 is the time then."""
    rest = family.key_size
    return [
        load(R1, R7, rest + 12),
        load(R0, R8, 0, DOUBLE),
        subtract(R0, R1),
        unless_equal(R0, 0, "end"),
        load(R1, R7, rest + 16),
        if_equal(R1, ANY, "any"),
        load(R0, STACK, HEADERS, HALF),
        from_network(R0),
        shift_right(R0, family.traffic_class_bit),
        mask(R0, DSCP),
        subtract(R0, R1),
        unless_equal(R0, 0, "end"),
        "any",
        call(NANOSECONDS),
        move(R9, R0),
        load(R1, R8, AT_LAST, DOUBLE),
        subtract(R0, R1),
        if_above_signed(R0, QUIET, "end"),
    ]


def _rewrite(family: Family) -> list[Line]:
    rest = family.key_size
    lines: list[Line] = []
    if family.checksum is not None:
        lines += _add_to_sum(REPLACE_L3_SUM, family.checksum, rest, 0)
    at = family.tcp + TCP_CHECKSUM
    lines += _add_to_sum(REPLACE_L4_SUM, at, rest, PSEUDO_HEADER)
    lines += _add_to_sum(REPLACE_L4_SUM, at, rest + 4, 0)
    lines += [
        move(R1, R6),
        put(R2, family.key),
        move(R3, R7),
        put(R4, family.key_size),
        put(R5, 0),
        call(STORE_BYTES),
        unless_equal(R0, 0, "end"),
    ]
    return lines


def _add_to_sum(function: int, at: int, change: int, flags: int) -> Sequence[Line]:
    """To the checksum at offset `at` of the packet, what the value of the flow has at `change`."""
    return [
        move(R1, R6),
        put(R2, at),
        put(R3, 0),
        load(R4, R7, change),
        put(R5, flags),
        call(function),
        unless_equal(R0, 0, "end"),
    ]
