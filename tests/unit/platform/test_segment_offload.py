"""The router's part of rewriting segments in the kernel: what is requested of the guard, and the
memory that is shared with the program."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from router.platform.base.errors import PlatformError
from router.platform.base.segments import Passed, Translation
from router.platform.linux.bpf.instructions import Instruction
from router.platform.linux.bpf.segments import ANY, FAMILY, REST, SLOT, Maps, program
from router.platform.linux.client.segments import LinuxSegmentOffload
from router.platform.linux.operations.segments import SegmentOperations
from router.platform.linux.operations.tun import TunOperations
from router.platform.linux.segment_rewriter import DIRECTIONS, MOST_FLOWS, value
from router.platform.privileged.channel import Message
from router.platform.privileged.client import Done, GuardClient

OLD, NEW = bytes(range(12)), bytes(range(20, 32))
BOTH = (Translation(OLD, NEW, 0), Translation(NEW, OLD, None))


class MemoryGuard:
    """Hands over memory, and keeps what is requested."""

    def __init__(self, file: Path) -> None:
        self.memory = os.open(file, os.O_RDWR | os.O_CREAT)
        os.ftruncate(self.memory, DIRECTIONS * MOST_FLOWS * SLOT.size)
        self.requests: list[tuple[str, bytes, dict[str, Any]]] = []
        self.replies: Message | Exception = Message(None)

    def call(self, _operation: str) -> Message:
        return Message(None, [os.dup(self.memory)])

    def request(self, operation: str, done: Done, records: bytes, **arguments: Any) -> None:
        self.requests.append((operation, records, arguments))
        done(self.replies)

    def slot(self, number: int) -> tuple[int, int, int, int]:
        return SLOT.unpack(os.pread(self.memory, SLOT.size, number * SLOT.size))

    def count(self, number: int, *values: int) -> None:
        os.pwrite(self.memory, SLOT.pack(*values), number * SLOT.size)


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[MemoryGuard]:
    guard = MemoryGuard(tmp_path / "slots")
    yield guard
    os.close(guard.memory)


@pytest.fixture
def offload(guard: MemoryGuard) -> Iterator[LinuxSegmentOffload]:
    offload = LinuxSegmentOffload(cast(GuardClient, guard))
    yield offload
    offload.close()


def test_a_flow_begins_and_ends(guard: MemoryGuard, offload: LinuxSegmentOffload) -> None:
    offload.begin(3, BOTH, 2.0)
    offload.end(3)
    offload.begin(3, BOTH, 4.0)
    (add, elements, version), (remove, keys, _), (_, again, _) = guard.requests
    assert (add, remove, version) == ("add_segments", "remove_segments", {"version": 4})
    size = len(OLD) + len(NEW) + REST.size
    assert elements[:12] + elements[12:24] == OLD + NEW
    assert REST.unpack(elements[24:size])[2:] == (6, 0, 0)
    assert REST.unpack(elements[-REST.size :])[2:] == (7, 0, ANY)
    assert keys == OLD + NEW
    assert REST.unpack(again[24:size])[2:] == (6, 1, 0), "another generation"
    assert guard.slot(6) == (1, 4_000_000_000, 0, 0)


def test_an_end_takes_effect_before_the_guard_hears_of_it(
    guard: MemoryGuard, offload: LinuxSegmentOffload
) -> None:
    offload.begin(0, BOTH, 2.0)
    offload.end(0)
    assert [guard.slot(number)[0] for number in (0, 1, 2)] == [1, 1, 0]


def test_what_has_passed(guard: MemoryGuard, offload: LinuxSegmentOffload) -> None:
    offload.begin(1, BOTH, 2.0)
    guard.count(2, 0, 3_000_000_000, 4, 500)
    assert offload.passed(1) == [Passed(3.0, 4, 500), Passed(2.0, 0, 0)]
    offload.touch(1, 7.0)
    assert [each.last for each in offload.passed(1)] == [7.0, 7.0]


@pytest.mark.parametrize("error", [PlatformError("gone"), OSError(errno.E2BIG, "full")])
def test_after_an_error_no_other_begins(
    guard: MemoryGuard, offload: LinuxSegmentOffload, error: Exception
) -> None:
    guard.replies = error
    offload.begin(1, BOTH, 2.0)
    assert offload.most == 0


def test_the_changes_of_the_sums() -> None:
    """Of ones' complement sums of 16-bit words in the order of this machine, as the kernel has
    them."""

    def words(data: bytes) -> int:
        return sum(memoryview(data).cast("H"))

    addresses, ports, *_ = REST.unpack(value(BOTH[0], 0, 0)[len(NEW) :])
    assert (words(OLD[:8]) + addresses - words(NEW[:8])) % 0xFFFF == 0
    assert (words(OLD[8:]) + ports - words(NEW[8:])) % 0xFFFF == 0


def test_every_jump_of_the_program_is_ahead() -> None:
    lines = program(Maps(dict.fromkeys(FAMILY, 3), 4))
    labels = [line for line in lines if isinstance(line, str)]
    assert len(labels) == len(set(labels))
    for place, line in enumerate(lines):
        if isinstance(line, Instruction) and line.target:
            assert line.target in lines[place:]


@pytest.mark.parametrize("version", [4, 6, 5, "4", None, True])
def test_the_guard_takes_only_whole_records(version: object) -> None:
    operations = SegmentOperations(TunOperations(None))
    with pytest.raises(PlatformError):
        operations.add_segments(cast(int, version), b"x")
    with pytest.raises(PlatformError):
        operations.remove_segments(cast(int, version), bytes(12))
