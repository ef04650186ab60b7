"""Packets that wait to begin a flow, with the time as an argument."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, UDP

from router.flows.waiting import MOST_BYTES, PATIENCE, WaitingPackets
from router.wire import ip


def packet(number: int, size: int = 10) -> ip.Packet:
    """A datagram of `size` bytes by port `number`."""
    return ip.parse(bytes(IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=number) / bytes(size)))


def test_the_first_to_come_is_the_first_to_go() -> None:
    waiting = WaitingPackets()
    packets = [packet(number) for number in range(5)]
    assert all(waiting.add(each, 1.0) for each in packets)
    assert [waiting.take(1.5) for _ in packets] == packets
    with pytest.raises(IndexError):
        waiting.take(1.5)


def test_what_has_waited_for_too_long_is_taken_as_nothing() -> None:
    waiting = WaitingPackets()
    waiting.add(packet(1), 1.0)
    second = packet(2)
    waiting.add(second, 1.0 + PATIENCE)
    assert waiting.take(1.1 + PATIENCE) is None
    assert waiting.take(1.1 + PATIENCE) is second


def test_the_memory_is_bounded_and_is_free_again() -> None:
    waiting = WaitingPackets()
    big = packet(1, 60_000)
    kept = 0
    while waiting.add(big, 1.0):
        kept += 1
    assert kept * 60_000 <= MOST_BYTES < (kept + 1) * 62_000
    while waiting:
        waiting.take(1.0)
    assert waiting.add(big, 1.0)
