"""Forwarding a packet of a direct flow: it leaves by the interface of the flow, unchanged but for
its hop limit. The system resolves the next hop, and has it in its table of neighbours
(bpf_redirect_neigh in linux/bpf.h).

Left to the router are a packet that has no hop left, and one that is longer than the MTU, or would
be cut into such; and whatever follows one that is left to it, until it has sent that on. Where the
slot says so, the sender waits here for that, LONGEST_WAIT at most for each packet.

Always true: a checksum that was right stays right; no packet of a flow overtakes another. A packet
is changed only when nothing can keep it from being forwarded, or else it is dropped: that is where
the kernel has no memory for it.

Must not know: how a flow is found.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from router.platform.linux.bpf.flow_maps import (
    AT_BYTES,
    AT_GENERATION,
    AT_INTERFACE,
    AT_LEFT,
    AT_MTU,
    AT_NEXT_HOP,
    AT_PACKETS,
    AT_SENT_ON,
    AT_WAIT_UNTIL,
    DEADLINE,
    HEADERS,
    NEXT_HOP_SIZE,
    Family,
)
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
    add,
    add_atomically,
    add_value,
    call,
    go_to,
    if_above_signed,
    if_below,
    if_equal,
    leave,
    load,
    mask,
    move,
    multiply,
    put,
    shift_right,
    store,
    subtract,
    unless_equal,
)
from router.platform.linux.bpf.packet import (
    GSO_SEGMENTS,
    GSO_SIZE,
    LENGTH,
    REPLACE_L3_SUM,
    STORE_BYTES,
)
from router.wire import ip, udp
from router.wire.headers import TCP_DATA_OFFSET

CURRENT_TIME: Final = 5
CHANGE_HEAD: Final = 43
REDIRECT_TO_NEIGHBOUR: Final = 152
"""Functions of the kernel (linux/bpf.h, enum bpf_func_id)."""
ETHERNET_HEADER: Final = 14
LONGEST_WAIT: Final = 100_000
"""Nanoseconds."""
MOST_CHECKS: Final = 128
"""In one wait. When the kernel loads the program, it follows each of them."""
TIMES_BETWEEN: Final = 40
"""How often the time is read between two checks: that makes a microsecond."""
PASS, DROP = 0, 2
"""TC_ACT_OK, TC_ACT_SHOT"""


def forward(family: Family) -> list[Line]:
    """The packet in R6 by the flow in R7, with the slot in R8; R9 is 0 unless it has to be left to
    the router."""
    return [
        unless_equal(R9, 0, "left"),
        *_load_number_on_their_way(),
        if_equal(R0, 0, "none on their way"),
        *_wait(family),
        "none on their way",
        load(R0, STACK, HEADERS + family.hop_limit, BYTE),
        if_below(R0, 2, "left"),
        *_check_length(family),
        *_make_room(),
        *_count_hop(family),
        *_count(),
        load(R1, R7, family.ends_size + AT_INTERFACE),
        move(R2, R7),
        add_value(R2, family.ends_size + AT_NEXT_HOP),
        put(R3, NEXT_HOP_SIZE),
        put(R4, 0),
        call(REDIRECT_TO_NEIGHBOUR),
        leave(),
        "left",
        put(R1, 1),
        add_atomically(R8, AT_LEFT, R1),
        put(R0, PASS),
        leave(),
        "no memory",
        put(R0, DROP),
        leave(),
    ]


def _load_number_on_their_way() -> Sequence[Line]:
    """R0: how many packets are left to the router that it has not sent on."""
    return [
        load(R0, R8, AT_LEFT, DOUBLE),
        load(R1, R8, AT_SENT_ON, DOUBLE),
        subtract(R0, R1),
    ]


def _wait(family: Family) -> Sequence[Line]:
    """Until there are none. It is left to the router if that takes too long, and to whatever comes
    then if the flow has ended meanwhile."""
    return [
        call(CURRENT_TIME),
        load(R1, R8, AT_WAIT_UNTIL, DOUBLE),
        move(R2, R0),
        subtract(R2, R1),
        if_above_signed(R2, 0, "left"),
        add_value(R0, LONGEST_WAIT),
        store(STACK, DEADLINE, R0, DOUBLE),
        put(R9, MOST_CHECKS),
        "check",
        *_load_number_on_their_way(),
        if_equal(R0, 0, "sent on"),
        *[call(CURRENT_TIME)] * TIMES_BETWEEN,
        load(R1, STACK, DEADLINE, DOUBLE),
        subtract(R0, R1),
        if_above_signed(R0, 0, "left"),
        add_value(R9, -1),
        unless_equal(R9, 0, "check"),
        go_to("left"),
        "sent on",
        put(R9, 0),
        load(R1, R7, family.ends_size + AT_GENERATION),
        load(R0, R8, 0, DOUBLE),
        subtract(R0, R1),
        unless_equal(R0, 0, "end"),
    ]


def _check_length(family: Family) -> Sequence[Line]:
    """Of the packet, or of the first that is to be cut from it: then R9 is that of its headers."""
    return [
        load(R0, R6, LENGTH),
        load(R1, R6, GSO_SIZE),
        if_equal(R1, 0, "whole"),
        put(R9, family.upper + udp.HEADER),
        load(R2, STACK, HEADERS + family.protocol, BYTE),
        if_equal(R2, ip.UDP, "header"),
        load(R9, STACK, HEADERS + family.upper + TCP_DATA_OFFSET, BYTE),
        mask(R9, 0xF0),
        shift_right(R9, 2),
        add_value(R9, family.upper),
        "header",
        move(R0, R9),
        add(R0, R1),
        "whole",
        load(R1, R7, family.ends_size + AT_MTU),
        subtract(R0, R1),
        if_above_signed(R0, 0, "left"),
    ]


def _make_room() -> Sequence[Line]:
    """For a link header, which a packet must have to be redirected to a neighbour, and which is
    taken off again there: the TUN's packets have none. Packets of more than 16 KB get none."""
    return [
        move(R1, R6),
        put(R2, ETHERNET_HEADER),
        put(R3, 0),
        call(CHANGE_HEAD),
        unless_equal(R0, 0, "left"),
    ]


def _count_hop(family: Family) -> Sequence[Line]:
    """Lower the hop limit, by the 16 bits in which it stands, and raise the checksum with it."""
    at = family.hop_limit & ~1
    a_hop = int.from_bytes(b"\1\0" if family.hop_limit == at else b"\0\1", sys.byteorder)
    lines: list[Line] = [
        load(R3, STACK, HEADERS + at, HALF),
        move(R4, R3),
        add_value(R4, -a_hop),
        store(STACK, HEADERS + at, R4, HALF),
    ]
    if family.checksum is not None:
        lines += [
            move(R1, R6),
            put(R2, ETHERNET_HEADER + family.checksum),
            put(R5, 2),
            call(REPLACE_L3_SUM),
            unless_equal(R0, 0, "no memory"),
        ]
    return [
        *lines,
        move(R1, R6),
        put(R2, ETHERNET_HEADER + at),
        move(R3, STACK),
        add_value(R3, HEADERS + at),
        put(R4, 2),
        put(R5, 0),
        call(STORE_BYTES),
        unless_equal(R0, 0, "no memory"),
    ]


def _count() -> Sequence[Line]:
    """Packets as they will be cut, each with its headers."""
    return [
        put(R1, 1),
        load(R2, R6, GSO_SEGMENTS),
        if_equal(R2, 0, "one"),
        move(R1, R2),
        "one",
        add_atomically(R8, AT_PACKETS, R1),
        add_value(R1, -1),
        multiply(R1, R9),
        load(R2, R6, LENGTH),
        add(R1, R2),
        add_value(R1, -ETHERNET_HEADER),
        add_atomically(R8, AT_BYTES, R1),
    ]
