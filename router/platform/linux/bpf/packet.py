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
    R5,
    R6,
    STACK,
    Line,
    add_value,
    call,
    if_below,
    if_equal,
    load,
    move,
    put,
    put_map,
    store,
    unless_equal,
)

MAP_LOOKUP: Final = 1
STORE_BYTES: Final = 9
REPLACE_L3_SUM: Final = 10
LOAD_BYTES: Final = 26
PULL_DATA: Final = 39
LOAD_BYTES_RELATIVE: Final = 68
"""Functions of the kernel (enum bpf_func_id)."""
LENGTH, PACKET_TYPE, MARK, PROTOCOL, VLAN, INTERFACE = 0, 4, 8, 16, 24, 40
GSO_SEGMENTS, GSO_SIZE = 164, 176
"""Members of struct __sk_buff."""
NETWORK_HEADER: Final = 1
"""BPF_HDR_START_NET"""
PULLED: Final = 256
"""Bytes of a packet that are more than its headers, of the link too."""
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


def load_network_bytes(to: int, size: int, offset: int, label: str) -> Sequence[Line]:
    """From offset R2 of the network header to the stack, in programs of the traffic control.
    offset: where on the stack R2 is kept; label: one of the program's own.

    The kernel's function reads no further than the packet is in one piece. Drivers may leave all
    behind the link header in pages, virtio_net for one: what is needed is put together then, as IP
    does next.
    """
    return [
        store(STACK, offset, R2),
        *_load_in_one_piece(to, size),
        if_equal(R0, 0, label),
        move(R1, R6),
        load(R2, R6, LENGTH),
        if_below(R2, PULLED, f"{label} whole"),
        put(R2, PULLED),
        f"{label} whole",
        call(PULL_DATA),
        load(R2, STACK, offset),
        *_load_in_one_piece(to, size),
        unless_equal(R0, 0, "end"),
        label,
    ]


def _load_in_one_piece(to: int, size: int) -> Sequence[Line]:
    return [
        move(R1, R6),
        move(R3, STACK),
        add_value(R3, to),
        put(R4, size),
        put(R5, NETWORK_HEADER),
        call(LOAD_BYTES_RELATIVE),
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
