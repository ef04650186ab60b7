"""The program that carries packets of known flows at the TUN, so that they do not pass the router
and nothing copies them (struct __sk_buff, BPF_PROG_TYPE_SCHED_CLS, BPF_TCX_EGRESS in linux/bpf.h).
What it does with them, the flow says: `rewriting` or `forwarding`.

Left to the router is what is no plain packet of a flow in the map: a TCP segment with SYN, FIN or
RST, options of IPv4, extension headers, fragments, any ICMP but echo requests; and everything when
the slot has another generation than the flow. The first fragment of a packet is found to be of its
flow, so that what follows does not overtake it; see `forwarding`.

Must not know: which flows are in the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from socket import htons
from typing import Final

from router.platform.linux.bpf.flow_maps import (
    AT_GENERATION,
    AT_INTERFACE,
    AT_SLOT,
    FAMILY,
    HEADERS,
    NUMBER,
    Maps,
)
from router.platform.linux.bpf.forwarding import forward
from router.platform.linux.bpf.instructions import (
    BYTE,
    DOUBLE,
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
    from_network,
    go_to,
    if_equal,
    leave,
    load,
    mask,
    move,
    put,
    store,
    subtract,
    unless_equal,
    with_own_labels,
)
from router.platform.linux.bpf.packet import ETHERTYPE, PROTOCOL, load_bytes, look_up
from router.platform.linux.bpf.rewriting import rewrite
from router.wire import ip, tcp
from router.wire.fragments import FRAGMENT_HEADER
from router.wire.headers import TCP_FLAGS, V4_FRAGMENT

PASS: Final = 0
PLAIN, SPECIAL = 0, 1
SHORTEST: Final = 8
"""Bytes of the headers of UDP and of an ICMP query."""
V6_FRAGMENT: Final = 2
"""Where the header of a fragment has its offset, with flags in the last three bits."""
CODE, IDENTIFIER = 2, 4
"""Where type and code of an ICMP query end, and its identifier begins."""


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
    """The flow is in R7, and its slot in R8, for what is done with a packet; R9 is 0 if it is a
    plain one."""
    family = FAMILY[version]
    return [
        put(R9, PLAIN),
        *(_load_v4_headers() if version == 4 else _load_v6_headers()),
        *_make_key(version),
        *look_up(maps.flows[version], HEADERS + family.ends),
        move(R7, R0),
        load(R0, R7, family.ends_size + AT_SLOT),
        store(STACK, NUMBER, R0),
        *look_up(maps.slots, NUMBER),
        move(R8, R0),
        load(R1, R7, family.ends_size + AT_GENERATION),
        load(R0, R8, 0, DOUBLE),
        subtract(R0, R1),
        unless_equal(R0, 0, "end"),
        load(R0, R7, family.ends_size + AT_INTERFACE),
        unless_equal(R0, 0, "forward"),
        unless_equal(R9, PLAIN, "end"),
        *rewrite(family),
        "forward",
        *forward(family),
    ]


def _load_v4_headers() -> Sequence[Line]:
    """To the stack, if the packet has the headers and no options."""
    return [
        put(R2, 0),
        *load_bytes(HEADERS, FAMILY[4].upper + SHORTEST),
        load(R0, STACK, HEADERS, BYTE),
        unless_equal(R0, 0x45, "end"),
        load(R0, STACK, HEADERS + V4_FRAGMENT, HALF),
        from_network(R0),
        move(R1, R0),
        mask(R0, ip.FRAGMENT_OFFSET),
        unless_equal(R0, 0, "end"),
        mask(R1, ip.MORE_FRAGMENTS),
        if_equal(R1, 0, "loaded"),
        put(R9, SPECIAL),
        "loaded",
    ]


def _load_v6_headers() -> Sequence[Line]:
    """The same. What is behind the header of a fragment takes its place."""
    family = FAMILY[6]
    return [
        put(R2, 0),
        *load_bytes(HEADERS, family.upper + SHORTEST),
        load(R0, STACK, HEADERS + family.protocol, BYTE),
        unless_equal(R0, ip.FRAGMENT, "loaded"),
        put(R9, SPECIAL),
        load(R0, STACK, HEADERS + family.upper + V6_FRAGMENT, HALF),
        from_network(R0),
        mask(R0, ~7 & 0xFFFF),
        unless_equal(R0, 0, "end"),
        load(R0, STACK, HEADERS + family.upper, BYTE),
        store(STACK, HEADERS + family.protocol, R0, BYTE),
        put(R2, family.upper + FRAGMENT_HEADER),
        *load_bytes(HEADERS + family.upper, SHORTEST),
        "loaded",
    ]


def _make_key(version: int) -> Sequence[Line]:
    """In place: behind addresses and ports stands the protocol then."""
    family = FAMILY[version]
    upper = HEADERS + family.upper
    return [
        load(R0, STACK, HEADERS + family.protocol, BYTE),
        if_equal(R0, ip.UDP, "made"),
        if_equal(R0, ip.TCP, "tcp"),
        unless_equal(R0, family.icmp, "end"),
        load(R0, STACK, upper, BYTE),
        unless_equal(R0, family.echo, "end"),
        load(R0, STACK, upper + IDENTIFIER, HALF),
        store(STACK, upper + CODE, R0, HALF),
        go_to("made"),
        "tcp",
        unless_equal(R9, PLAIN, "end"),
        put(R2, 0),
        *load_bytes(HEADERS, family.upper + tcp.HEADER),
        load(R0, STACK, upper + TCP_FLAGS, BYTE),
        mask(R0, tcp.SYN | tcp.FIN | tcp.RST),
        if_equal(R0, 0, "made"),
        put(R9, SPECIAL),
        "made",
        load(R0, STACK, HEADERS + family.protocol, BYTE),
        store(STACK, HEADERS + family.ends + family.ends_size, R0),
    ]
