"""A budget of descriptors, and UDP sockets that come out of one."""

from __future__ import annotations

import errno

import pytest

from router.outbound.all import Outbound
from router.outbound.descriptors import RESERVE, Descriptors
from router.outbound.udp import UdpSockets
from router.policy.network import Interface
from tests.unit.engine.udp.memory import MemorySystem

LINK = Interface("eth0", 2, up=True, mtu=1500)


def test_what_is_taken_is_gone_until_it_is_given_back() -> None:
    descriptors = Descriptors(RESERVE + 1000)
    descriptors.others = 997
    assert not descriptors.take(4)
    assert descriptors.take(2)
    assert not descriptors.take(2)
    assert descriptors.take(1)
    descriptors.give_back(2)
    assert descriptors.take(2)
    assert descriptors.free == 0


def test_of_few_half_are_kept() -> None:
    assert Descriptors(20).free == 10


def test_others_may_take_what_is_kept() -> None:
    descriptors = Descriptors(20)
    descriptors.others = 15
    assert descriptors.free == -5
    assert not descriptors.take(1)


def test_each_udp_socket_takes_one_and_gives_it_back() -> None:
    system, descriptors = MemorySystem(), Descriptors(4)
    sockets = UdpSockets(system, system.watch, system.forget, 100, descriptors)
    outbound = Outbound("eth0")
    outbound.interfaces = {4: LINK}
    opened = [sockets.open(outbound, 4, iter([port])) for port in (5000, 5001)]
    for egress in opened:
        sockets.watch(egress, print)
    with pytest.raises(OSError) as refused:
        sockets.open(outbound, 4, iter([5002]))
    assert refused.value.errno == errno.EMFILE
    sockets.close(opened.pop())
    with pytest.raises(OSError):
        sockets.open(outbound, 4, iter([5000]))
    assert sockets.open(outbound, 4, iter([5000, 5002])).port == 5002
