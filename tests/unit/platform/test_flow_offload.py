"""The router's part of carrying flows in the kernel: what is requested of the guard, and the
memory that is shared with the program."""

from __future__ import annotations

import errno
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from router.platform.base.errors import PlatformError
from router.platform.base.flow_offload import Forwarding, Passed, Translation
from router.platform.linux.bpf.flow_maps import ANY, FAMILY, REST, SLOT, Maps
from router.platform.linux.bpf.flows import program
from router.platform.linux.bpf.instructions import Instruction
from router.platform.linux.client.flow_offload import LinuxFlowOffload
from router.platform.linux.flow_program import DIRECTIONS, MOST_FLOWS, key, value
from router.platform.linux.operations import flow_offload
from router.platform.linux.operations.flow_offload import FlowOffloadOperations
from router.platform.linux.operations.tun import TunOperations
from router.platform.privileged.arguments import MOST_INDEX
from router.platform.privileged.channel import Message
from router.platform.privileged.client import Done, GuardClient

OLD, NEW = bytes(range(12)), bytes(range(20, 32))
TCP, UDP = (number.to_bytes(4, sys.byteorder) for number in (6, 17))
FORWARDING = Forwarding(17, OLD, 3, bytes(4), 1500)
BOTH = (Translation(OLD, NEW, 0), Translation(NEW, OLD, None))


class MemoryGuard:
    """Hands over memory, and keeps what is requested."""

    def __init__(self, file: Path) -> None:
        self.memory = os.open(file, os.O_RDWR | os.O_CREAT)
        os.ftruncate(self.memory, DIRECTIONS * MOST_FLOWS * SLOT.size)
        self.requests: list[tuple[str, bytes, dict[str, Any]]] = []
        self.replies: Message | Exception = Message(None)
        self.replies_at_once = True
        self._waiting: list[Done] = []

    def call(self, _operation: str) -> Message:
        return Message(None, [os.dup(self.memory)])

    def request(self, operation: str, done: Done, records: bytes, **arguments: Any) -> None:
        self.requests.append((operation, records, arguments))
        self._waiting.append(done)
        if self.replies_at_once:
            self.reply()

    def reply(self) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done(self.replies)

    def slot(self, number: int) -> tuple[int, ...]:
        return SLOT.unpack(os.pread(self.memory, SLOT.size, number * SLOT.size))

    def count(self, number: int, *values: int) -> None:
        os.pwrite(self.memory, SLOT.pack(*values), number * SLOT.size)


@pytest.fixture
def guard(tmp_path: Path) -> Iterator[MemoryGuard]:
    guard = MemoryGuard(tmp_path / "slots")
    yield guard
    os.close(guard.memory)


@pytest.fixture
def offload(guard: MemoryGuard) -> Iterator[LinuxFlowOffload]:
    offload = LinuxFlowOffload(cast(GuardClient, guard))
    yield offload
    offload.close()


def test_a_flow_begins_and_ends(guard: MemoryGuard, offload: LinuxFlowOffload) -> None:
    number = offload.begin(BOTH, 2.0)
    assert number is not None
    offload.end([number])
    assert offload.begin(BOTH, 4.0) == number
    (add, elements, version), (remove, keys, _), (_, again, _) = guard.requests
    assert (add, remove, version) == ("add_flows", "remove_flows", {"version": 4})
    size = 12 + 4 + 12 + REST.size
    assert elements[:16] + elements[16:28] == OLD + TCP + NEW
    slot = 2 * number
    assert REST.unpack(elements[28:size])[2:7] == (slot, 0, 0, 0, 0)
    assert REST.unpack(elements[-REST.size :])[2:7] == (slot + 1, 0, ANY, 0, 0)
    assert keys == OLD + TCP + NEW + TCP
    assert REST.unpack(again[28:size])[2:4] == (slot, 1), "another generation"
    assert guard.slot(slot)[:4] == (1, 4_000_000_000, 0, 0)


def test_an_end_takes_effect_before_the_guard_hears_of_it(
    guard: MemoryGuard, offload: LinuxFlowOffload
) -> None:
    number = offload.begin(BOTH, 2.0)
    assert number is not None
    offload.end([number])
    slots = (2 * number, 2 * number + 1, 0)
    assert [guard.slot(slot)[0] for slot in slots] == [1, 1, 0]


@pytest.mark.parametrize("next_hop", [bytes([10, 0, 0, 1]), bytes(15) + b"\1"])
def test_a_flow_that_is_forwarded(
    guard: MemoryGuard, offload: LinuxFlowOffload, next_hop: bytes
) -> None:
    offload.begin([FORWARDING._replace(next_hop=next_hop)], 2.0)
    ((_, elements, _),) = guard.requests
    assert elements[:16] == OLD + UDP
    *_, interface, mtu, family, address = REST.unpack(elements[-REST.size :])
    wanted = socket.AF_INET if len(next_hop) == 4 else socket.AF_INET6
    assert (interface, mtu, family) == (3, 1500, wanted)
    assert address == next_hop.ljust(16, b"\0")


class Opening:
    """A flow that is begun; whether what is in the map has the generation of its slot."""

    def __init__(self, guard: MemoryGuard, offload: LinuxFlowOffload) -> None:
        self.guard, self.offload = guard, offload
        self.added: list[int] = []
        number = offload.begin([FORWARDING], 2.0, self.added.append)
        assert number is not None
        self.number = number

    @property
    def is_carried(self) -> bool:
        wanted: int = REST.unpack(self.guard.requests[0][1][-REST.size :])[3]
        generation, *_, packets_left, sent_on, _ = self.guard.slot(2 * self.number)
        return (generation, packets_left) == (wanted, sent_on)


def test_it_is_carried_only_between_open_and_end(
    guard: MemoryGuard, offload: LinuxFlowOffload
) -> None:
    flow = Opening(guard, offload)
    assert flow.added == [flow.number]
    assert not flow.is_carried
    offload.open(flow.number, offload.left(flow.number))
    assert flow.is_carried
    offload.end([flow.number])
    assert not flow.is_carried


def test_senders_are_slowed_down_until_open(guard: MemoryGuard, offload: LinuxFlowOffload) -> None:
    flow = Opening(guard, offload)
    offload.slow_down(flow.number, 2.5)
    assert guard.slot(2 * flow.number)[-1] == 2_500_000_000
    assert not flow.is_carried
    offload.open(flow.number, 1)
    assert guard.slot(2 * flow.number)[-1] == 0
    offload.slow_down(flow.number, 3.5)
    offload.end([flow.number])
    again = Opening(guard, offload)
    assert again.number == flow.number
    assert guard.slot(2 * flow.number)[-1] == 0


def test_an_end_before_open_is_one(guard: MemoryGuard, offload: LinuxFlowOffload) -> None:
    flow = Opening(guard, offload)
    offload.end([flow.number])
    assert not flow.is_carried


def test_what_has_ended_before_the_guard_has_it_is_not_told(
    guard: MemoryGuard, offload: LinuxFlowOffload
) -> None:
    guard.replies_at_once = False
    flow = Opening(guard, offload)
    offload.end([flow.number])
    again = Opening(guard, offload)
    assert again.number == flow.number
    guard.reply()
    assert (flow.added, again.added) == ([], [again.number])


def test_many_end_at_a_time(guard: MemoryGuard, offload: LinuxFlowOffload) -> None:
    v6 = FORWARDING._replace(ends=bytes(36))
    numbers = [offload.begin([each], 2.0) for each in (FORWARDING, v6, BOTH[1])]
    guard.requests.clear()
    offload.end([number for number in numbers if number is not None])
    assert guard.requests == [
        ("remove_flows", OLD + UDP + NEW + TCP, {"version": 4}),
        ("remove_flows", bytes(36) + UDP, {"version": 6}),
    ]


def test_what_has_passed(guard: MemoryGuard, offload: LinuxFlowOffload) -> None:
    number = offload.begin(BOTH, 2.0)
    assert number is not None
    guard.count(2 * number, 0, 3_000_000_000, 4, 500, 1, 0, 0)
    assert offload.passed(number) == [Passed(3.0, 4, 500), Passed(2.0, 0, 0)]
    offload.touch(number, 7.0)
    assert [each.last for each in offload.passed(number)] == [7.0, 7.0]


def test_there_is_room_for_so_many(offload: LinuxFlowOffload) -> None:
    numbers = [offload.begin(BOTH, 1.0) for _ in range(MOST_FLOWS)]
    assert sorted(number for number in numbers if number is not None) == list(range(MOST_FLOWS))
    assert offload.begin(BOTH, 1.0) is None


@pytest.mark.parametrize("error", [PlatformError("gone"), OSError(errno.E2BIG, "full")])
def test_a_flow_that_is_refused_is_told_once_and_hinders_no_other(
    guard: MemoryGuard,
    offload: LinuxFlowOffload,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    added: list[int] = []
    guard.replies = error
    for _ in range(2):
        offload.begin([FORWARDING], 1.0, added.append)
    assert added == []
    assert len(caplog.messages) == 1
    guard.replies = Message(None)
    assert [offload.begin([FORWARDING], 1.0, added.append)] == added


def test_the_changes_of_the_sums() -> None:
    """Of ones' complement sums of 16-bit words in the order of this machine, as the kernel has
    them."""

    def words(data: bytes) -> int:
        return sum(memoryview(data).cast("H"))

    addresses, ports, *_ = REST.unpack(value(BOTH[0], 0, 0)[len(NEW) :])
    assert (words(OLD[:8]) + addresses - words(NEW[:8])) % 0xFFFF == 0
    assert (words(OLD[8:]) + ports - words(NEW[8:])) % 0xFFFF == 0


def test_every_jump_of_the_program_is_ahead() -> None:
    """But for that of the loop in which a sender waits."""
    lines = program(Maps(dict.fromkeys(FAMILY, 3), 4))
    labels = [line for line in lines if isinstance(line, str)]
    assert len(labels) == len(set(labels))
    for place, line in enumerate(lines):
        if isinstance(line, Instruction) and line.target:
            assert line.target in lines[place:] or line.target in ("v4 check", "v6 check")


@pytest.mark.parametrize("version", [4, 6, 5, "4", None, True])
def test_the_guard_takes_only_whole_records(version: object) -> None:
    operations = FlowOffloadOperations(TunOperations(None))
    with pytest.raises(PlatformError):
        operations.add_flows(cast(int, version), b"x")
    with pytest.raises(PlatformError):
        operations.remove_flows(cast(int, version), bytes(12))


def forward_by(index: int) -> None:
    tun = TunOperations(None)
    tun.index = 7
    part = FORWARDING._replace(interface=index)
    FlowOffloadOperations(tun).add_flows(4, key(part) + value(part, 0, 0))


def test_the_guard_forwards_by_no_loopback_interface() -> None:
    with pytest.raises(PlatformError, match="lo is the loopback interface"):
        forward_by(socket.if_nametoindex("lo"))


def test_the_guard_forwards_by_no_interface_that_is_gone() -> None:
    with pytest.raises(PlatformError, match="interface 2147483647 is gone"):
        forward_by(MOST_INDEX)


def test_the_guard_forwards_by_no_tun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow_offload, "check_index", lambda index: None)
    with pytest.raises(PlatformError, match="another interface than the TUN"):
        forward_by(7)
