"""Rewriting a segment of a relayed flow: it gets the addresses and ports of the flow, and goes back
to the system as if the TUN had received it.

Left to the router are a changed traffic class; and the first segment after QUIET, which may be a
keepalive probe, with what follows it.

Always true: checksums that were right stay right, those that are still to be completed as well.

Must not know: how a flow is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from router.platform.linux.bpf.flow_maps import (
    ANY,
    AT_ADDRESSES_SUM,
    AT_BYTES,
    AT_DSCP,
    AT_LAST,
    AT_PACKETS,
    AT_PORTS_SUM,
    HEADERS,
    Family,
)
from router.platform.linux.bpf.instructions import (
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
)
from router.platform.linux.bpf.packet import (
    INTERFACE,
    LENGTH,
    MARK,
    REPLACE_L3_SUM,
    STORE_BYTES,
)
from router.wire.headers import TCP_CHECKSUM

NANOSECONDS: Final = 5
REPLACE_L4_SUM: Final = 11
REDIRECT: Final = 23
"""Functions of the kernel (linux/bpf.h, enum bpf_func_id)."""
PSEUDO_HEADER: Final = 0x10
"""BPF_F_PSEUDO_HDR: what is replaced counts in the pseudo-header."""
INWARD: Final = 1
"""BPF_F_INGRESS: as if the interface had received it."""
DSCP: Final = 0xFC
QUIET: Final = 600_000_000
"""Nanoseconds; a little more than in router.engine.tcp.keepalive, whose clock is that of a loop."""


def rewrite(family: Family) -> list[Line]:
    """The packet in R6 by the flow in R7, with the slot in R8."""
    return [
        *_check_state(family),
        store(R8, AT_LAST, R9, DOUBLE),
        put(R1, 1),
        add_atomically(R8, AT_PACKETS, R1),
        load(R1, R6, LENGTH),
        add_atomically(R8, AT_BYTES, R1),
        *_replace(family),
        put(R0, 0),
        store(R6, MARK, R0),
        load(R1, R6, INTERFACE),
        put(R2, INWARD),
        call(REDIRECT),
        leave(),
    ]


def _check_state(family: Family) -> Sequence[Line]:
    """Traffic class and silence; R9 is the time then."""
    return [
        load(R1, R7, family.ends_size + AT_DSCP),
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


def _replace(family: Family) -> list[Line]:
    rest = family.ends_size
    lines: list[Line] = []
    if family.checksum is not None:
        lines += _add_to_sum(REPLACE_L3_SUM, family.checksum, rest + AT_ADDRESSES_SUM, 0)
    at = family.upper + TCP_CHECKSUM
    lines += _add_to_sum(REPLACE_L4_SUM, at, rest + AT_ADDRESSES_SUM, PSEUDO_HEADER)
    lines += _add_to_sum(REPLACE_L4_SUM, at, rest + AT_PORTS_SUM, 0)
    lines += [
        move(R1, R6),
        put(R2, family.ends),
        move(R3, R7),
        put(R4, family.ends_size),
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
