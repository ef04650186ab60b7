"""eBPF instructions as the kernel takes them (RFC 9669, section 3)."""

from __future__ import annotations

import sys

import pytest

from router.platform.base.answers import NumberedPrefix
from router.platform.linux.bpf.answers import FAMILY, INGRESS, SOCKET, Maps, Position, program
from router.platform.linux.bpf.instructions import (
    R0,
    R1,
    R6,
    WORD,
    Instruction,
    Line,
    assemble,
    if_equal,
    leave,
    load,
    put,
    put_map,
)
from router.platform.linux.client.answers import difference

pytestmark = pytest.mark.skipif(sys.byteorder != "little", reason="written for little endian")


def test_encoding() -> None:
    lines = [load(R0, R6, 40, WORD), put(R1, -1), leave()]
    assert assemble(lines).hex(" ", 8) == ("6160280000000000 b7010000ffffffff 9500000000000000")


def test_jumps_count_wide_instructions_twice() -> None:
    lines: list[Line] = [if_equal(R0, 0, "end"), put_map(R1, 7), put(R0, 1), "end", leave()]
    assert assemble(lines)[:8].hex() == "1500030000000000"
    assert len(assemble(lines)) == 5 * 8


@pytest.mark.parametrize("position", [INGRESS, SOCKET], ids=["ingress", "socket"])
def test_every_jump_of_the_program_is_ahead(position: Position) -> None:
    lines = program({version: Maps(3, 4, 5) for version in FAMILY}, position)
    labels = [line for line in lines if isinstance(line, str)]
    assert len(labels) == len(set(labels))
    for place, line in enumerate(lines):
        if isinstance(line, Instruction) and line.target:
            assert line.target in lines[place:]


def test_what_is_changed_in_the_maps() -> None:
    same, renumbered = NumberedPrefix(4, 0, 8, 1), NumberedPrefix(4, 1 << 24, 8, 1)
    gone, new = NumberedPrefix(6, 0, 8, 1), NumberedPrefix(6, 0, 9, 2)
    other = renumbered._replace(number=2)
    added, removed = difference([same, renumbered, gone], [same, other, new])
    assert sorted(added) == [other, new]
    assert removed == [gone]
