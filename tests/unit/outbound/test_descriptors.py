"""A budget of descriptors, and UDP sockets counted in one."""

from __future__ import annotations

import errno

import pytest

from router.engine.udp.sockets import MappingSockets
from router.outbound.descriptors import RESERVE, Descriptors
from tests.unit.engine.memory_outbound import MemoryOutbound
from tests.unit.engine.tcp.memory import MemoryTcp
from tests.unit.engine.udp.memory import MemorySystem


def test_taken_descriptors_are_unavailable_until_returned() -> None:
    descriptors = Descriptors(RESERVE + 1000)
    descriptors.others = 997
    assert not descriptors.take(4)
    assert descriptors.take(2)
    assert not descriptors.take(2)
    assert descriptors.take(1)
    descriptors.give_back(2)
    assert descriptors.take(2)
    assert descriptors.free == 0


def test_half_of_a_small_budget_is_reserved() -> None:
    assert Descriptors(20).free == 10


def test_other_uses_may_take_the_reserve() -> None:
    descriptors = Descriptors(20)
    descriptors.others = 15
    assert descriptors.free == -5
    assert not descriptors.take(1)


def test_each_udp_socket_takes_one_and_returns_it() -> None:
    system, descriptors = MemorySystem(), Descriptors(4)
    sockets = MappingSockets(system.watch, system.forget, 100, descriptors)
    outbound = MemoryOutbound("home", {4: "192.0.2.2"}, system, MemoryTcp())
    opened = [sockets.open(outbound, 4, bytes(4), iter([port])) for port in (5000, 5001)]
    for channel in opened:
        sockets.watch(channel, print)
    with pytest.raises(OSError) as refused:
        sockets.open(outbound, 4, bytes(4), iter([5002]))
    assert refused.value.errno == errno.EMFILE
    sockets.close(opened.pop())
    with pytest.raises(OSError):
        sockets.open(outbound, 4, bytes(4), iter([5000]))
    assert sockets.open(outbound, 4, bytes(4), iter([5000, 5002])).port == 5002
