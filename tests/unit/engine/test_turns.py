"""Turns of the loop that end before the TUN's queue is found empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.engine.observer.observer import Observer
from router.engine.observer.trace import Trace
from router.engine.reading import SHORT_TURNS, TunReader
from router.flows.trace.matching import Filter
from router.flows.trace.words import parse
from router.wire import offload
from tests.unit.engine.direct.cases import datagram, direct_world
from tests.unit.engine.world import MemoryQueue, World
from tests.unit.wire.packets import echo_request

BUDGET = 64


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One in which it is decided that `datagram(4)` leaves directly."""
    made = direct_world(tmp_path)
    turn(made, [datagram(4)])
    return made


def turn(world: World, packets: list[bytes], now: float = 1.0) -> int:
    """How many of them a turn has read."""
    put(world.tun, packets)
    world.reader.turn(BUDGET, now)
    return len(packets) - len(world.tun.incoming)


def put(queue: MemoryQueue, packets: list[bytes]) -> None:
    queue.incoming = [offload.NOTHING_LEFT + packet for packet in packets]


@pytest.fixture
def forwarded(world: World) -> MemoryQueue:
    """The world's TUN has a queue of what is forwarded, too."""
    queue = world.tun.forwarded = MemoryQueue(world.tun.frame)
    world.reader = TunReader(world.forwarder, world.tun)
    return queue


def turn_forwarded(
    world: World,
    queue: MemoryQueue,
    packets: list[bytes],
    now: float = 1.0,
    *,
    own_is_readable: bool = False,
) -> int:
    """How many of them a turn has read."""
    put(queue, packets)
    world.reader.turn_forwarded(BUDGET, now, own_is_readable=own_is_readable)
    return len(packets) - len(queue.incoming)


def emptied(world: World) -> int:
    return world.carriers.streams._table.emptied


def test_a_queue_that_grows_is_noticed(world: World) -> None:
    direct = datagram(4)
    turn(world, [direct] * 2)
    turns = [turn(world, [direct] * 9) for _ in range(SHORT_TURNS + 2)]
    assert turns == [2] * SHORT_TURNS + [9, 9]


def test_what_is_fewer_than_expected_is_all(world: World) -> None:
    turn(world, [datagram(4)] * 9)
    assert turn(world, [datagram(4)] * 3) == 3
    assert turn(world, [datagram(4)] * 9) == 3


def test_a_turn_with_a_relayed_packet_is_whole(world: World) -> None:
    """Also for the connections that wait until what was in the TUN has been read."""
    relayed = bytes(echo_request(4))
    turn(world, [datagram(4)])
    before = world.carriers.streams._table.emptied
    assert turn(world, [relayed] + [datagram(4)] * 5) == 6
    assert world.carriers.streams._table.emptied == before + 1


def test_what_is_forwarded_is_read_to_its_end_and_the_other_queue_not_looked_at(
    world: World, forwarded: MemoryQueue
) -> None:
    """That is not readable, so it is empty."""
    before, looked = emptied(world), world.tun.looked
    assert turn_forwarded(world, forwarded, [datagram(4)] * 5) == 5
    assert (emptied(world), world.tun.looked) == (before + 1, looked)


def test_the_own_queue_is_read_before_what_is_forwarded(
    world: World, forwarded: MemoryQueue
) -> None:
    own, other = bytes(echo_request(4)), bytes(echo_request(4, sequence=2))
    put(world.tun, [own])
    assert turn_forwarded(world, forwarded, [other], own_is_readable=True) == 1
    sent = [query.data for query, _ in world.sent("home", 4)]
    assert sent == [own, other]


def test_the_own_queue_is_read_once_in_a_round(world: World, forwarded: MemoryQueue) -> None:
    turn(world, [datagram(4)], now=2.0)
    looked = world.tun.looked
    turn_forwarded(world, forwarded, [datagram(4)], now=2.0, own_is_readable=True)
    assert world.tun.looked == looked
    turn_forwarded(world, forwarded, [datagram(4)], now=3.0, own_is_readable=True)
    assert world.tun.looked == looked + 1


def test_a_queue_that_stays_full_is_a_backlog_whatever_the_other_is(
    world: World, forwarded: MemoryQueue
) -> None:
    full = [datagram(4)] * (BUDGET + 1)
    before = emptied(world)
    for now in (1.0, 1.01, 1.03):
        assert turn_forwarded(world, forwarded, full, now) == BUDGET
        turn(world, [datagram(4)], now)
    assert emptied(world) == before
    assert world.forwarder.policer._busy_until > 1.03
    turn_forwarded(world, forwarded, [datagram(4)], 1.04)
    assert emptied(world) == before + 1


def test_a_turn_that_has_not_looked_changes_no_backlog(world: World) -> None:
    """The router counts as busy only by turns that have read as many as they may."""
    turn(world, [datagram(4)])
    before = world.carriers.streams._table.emptied
    assert turn(world, [datagram(4)] * 5) == 1
    assert world.carriers.streams._table.emptied == before
    assert world.forwarder.policer._busy_until < 1.0


def test_what_is_forwarded_is_traced(world: World, forwarded: MemoryQueue) -> None:
    trace = Trace(Filter(parse("icmp")), lambda: None)
    Observer(world.forwarder, world.writer).add(trace)
    own, other = bytes(echo_request(4)), bytes(echo_request(4, sequence=2))
    put(world.tun, [own])
    assert turn_forwarded(world, forwarded, [other, datagram(4)], own_is_readable=True) == 2
    assert [each.data for each in trace.take()] == [own, other]


def test_turns_are_short_while_packets_are_traced(world: World) -> None:
    """That no trace wants. What one wants is reported once, whichever way it leaves."""
    trace = Trace(Filter(parse("icmp")), lambda: None)
    Observer(world.forwarder, world.writer).add(trace)
    turn(world, [])
    turn(world, [datagram(4)])
    turn(world, [datagram(4)])
    assert turn(world, [datagram(4)] * 5) == 1
    relayed = bytes(echo_request(4))
    assert turn(world, [relayed, *[datagram(4)] * 2]) == 3
    assert [each.data for each in trace.take()] == [relayed]
