"""eBPF instructions and their encoding (linux/bpf.h, struct bpf_insn; RFC 9669).

A program is a list of instructions and labels; a jump names the label that it leads to, which
stands behind it.

Must not know: what a program does.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from struct import Struct
from typing import Final, NamedTuple

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, STACK = range(11)
"""R0 is the result of a call, R1 to R5 are its arguments and lost by it, STACK is the end of 512
bytes."""

BYTE, HALF, WORD, DOUBLE = 0x10, 0x08, 0x00, 0x18
"""Sizes: 1, 2, 4 and 8 bytes."""
ENCODED: Final = Struct("=BBhi")
MAP_DESCRIPTOR: Final = 1
"""BPF_PSEUDO_MAP_FD"""
LITTLE_ENDIAN: Final = sys.byteorder == "little"


class Instruction(NamedTuple):
    """target: the label that a jump leads to. wide: whether it has the place of two."""

    code: int
    destination: int = 0
    source: int = 0
    offset: int = 0
    value: int = 0
    target: str = ""
    wide: bool = False


Line = Instruction | str
"""An instruction or a label."""


def assemble(lines: Sequence[Line]) -> bytes:
    """The program as the kernel takes it."""
    places = _places(lines)
    code, place = bytearray(), 0
    for line in lines:
        if isinstance(line, str):
            continue
        place += 1 + line.wide
        offset = places[line.target] - place if line.target else line.offset
        code += _encode(line._replace(offset=offset))
    return bytes(code)


def with_own_labels(lines: Iterable[Line], prefix: str) -> Iterator[Line]:
    """All but `end`, which parts of a program have in common."""
    for line in lines:
        if isinstance(line, str):
            yield f"{prefix} {line}"
        elif line.target and line.target != "end":
            yield line._replace(target=f"{prefix} {line.target}")
        else:
            yield line


def _places(lines: Iterable[Line]) -> dict[str, int]:
    """Of the labels, counted in instructions."""
    places, place = {}, 0
    for line in lines:
        if isinstance(line, str):
            places[line] = place
        else:
            place += 1 + line.wide
    return places


def _encode(line: Instruction) -> bytes:
    registers = line.source << 4 | line.destination
    if not LITTLE_ENDIAN:
        registers = line.destination << 4 | line.source
    encoded = ENCODED.pack(line.code, registers, line.offset, line.value)
    return encoded + bytes(ENCODED.size) if line.wide else encoded


# Registers. All arithmetic is on 64 bits, without signs.


def move(to: int, source: int) -> Instruction:
    return Instruction(0xBF, to, source)


def put(to: int, value: int) -> Instruction:
    return Instruction(0xB7, to, value=value)


def put_map(to: int, descriptor: int) -> Instruction:
    """A map, as an argument of a call."""
    return Instruction(0x18, to, MAP_DESCRIPTOR, value=descriptor, wide=True)


def add(to: int, source: int) -> Instruction:
    return Instruction(0x0F, to, source)


def add_value(to: int, value: int) -> Instruction:
    return Instruction(0x07, to, value=value)


def subtract(to: int, source: int) -> Instruction:
    return Instruction(0x1F, to, source)


def multiply(to: int, source: int) -> Instruction:
    return Instruction(0x2F, to, source)


def divide(to: int, source: int) -> Instruction:
    """By zero gives zero."""
    return Instruction(0x3F, to, source)


def mask(to: int, value: int) -> Instruction:
    return Instruction(0x57, to, value=value)


def shift_left(to: int, bits: int) -> Instruction:
    return Instruction(0x67, to, value=bits)


def shift_right(to: int, bits: int) -> Instruction:
    return Instruction(0x77, to, value=bits)


def from_network(to: int) -> Instruction:
    """The 16 bits that were loaded in network order."""
    return Instruction(0xDC, to, value=16)


# Memory.


def load(to: int, base: int, offset: int, size: int = WORD) -> Instruction:
    return Instruction(0x61 | size, to, base, offset)


def store(base: int, offset: int, source: int, size: int = WORD) -> Instruction:
    return Instruction(0x63 | size, base, source, offset)


def store_value(base: int, offset: int, value: int) -> Instruction:
    """Four bytes."""
    return Instruction(0x62, base, 0, offset, value)


def add_atomically(base: int, offset: int, source: int) -> Instruction:
    """To eight bytes."""
    return Instruction(0xDB, base, source, offset)


# Jumps. One back ends a loop, of which the kernel must see that it ends.


def go_to(target: str) -> Instruction:
    return Instruction(0x05, target=target)


def if_equal(register: int, value: int, target: str) -> Instruction:
    return Instruction(0x15, register, value=value, target=target)


def unless_equal(register: int, value: int, target: str) -> Instruction:
    return Instruction(0x55, register, value=value, target=target)


def if_above(register: int, value: int, target: str) -> Instruction:
    return Instruction(0x25, register, value=value, target=target)


def if_above_signed(register: int, value: int, target: str) -> Instruction:
    return Instruction(0x65, register, value=value, target=target)


def if_below(register: int, value: int, target: str) -> Instruction:
    return Instruction(0xA5, register, value=value, target=target)


def call(function: int) -> Instruction:
    return Instruction(0x85, value=function)


def leave() -> Instruction:
    """With the result in R0."""
    return Instruction(0x95)
