"""What programs that are given a packet have in common: members of struct __sk_buff, functions of
the kernel, and lines that call them (linux/bpf.h).

Always true: R6 has the packet, and what cannot be read or found leads to the label `end`.

Must not know: what a program does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from router.platform.linux.bpf.instructions import (
    R0,
    R1,
    R2,
    R3,
    R4,
    R6,
    STACK,
    Line,
    add_value,
    call,
    if_equal,
    move,
    put,
    put_map,
    unless_equal,
)

MAP_LOOKUP: Final = 1
STORE_BYTES: Final = 9
REPLACE_L3_SUM: Final = 10
LOAD_BYTES: Final = 26
"""Functions of the kernel (enum bpf_func_id)."""
LENGTH, PACKET_TYPE, MARK, PROTOCOL, VLAN, INTERFACE = 0, 4, 8, 16, 24, 40
GSO_SEGMENTS, GSO_SIZE = 164, 176
"""Members of struct __sk_buff."""
ETHERTYPE: Final = {4: 0x0800, 6: 0x86DD}


def load_bytes(to: int, size: int) -> Sequence[Line]:
    """From offset R2 of the packet to the stack."""
    return [
        move(R1, R6),
        move(R3, STACK),
        add_value(R3, to),
        put(R4, size),
        call(LOAD_BYTES),
        unless_equal(R0, 0, "end"),
    ]


def look_up(map_: int, key: int) -> Sequence[Line]:
    """R0: the address of the value. map_: a descriptor; key: where it stands on the stack."""
    return [
        put_map(R1, map_),
        move(R2, STACK),
        add_value(R2, key),
        call(MAP_LOOKUP),
        if_equal(R0, 0, "end"),
    ]
