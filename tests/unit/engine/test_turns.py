"""Turns of the loop that end before the TUN's queue is found empty."""

from __future__ import annotations

from pathlib import Path

import pytest

from router.engine.observer.observer import Observer
from router.engine.observer.trace import Trace
from router.engine.reading import SHORT_TURNS
from router.flows.trace.matching import Filter
from router.flows.trace.words import parse
from router.wire import offload
from tests.unit.engine.direct.cases import datagram, direct_world
from tests.unit.engine.world import World
from tests.unit.wire.packets import echo_request

BUDGET = 64


@pytest.fixture
def world(tmp_path: Path) -> World:
    """One in which it is decided that `datagram(4)` leaves directly."""
    made = direct_world(tmp_path)
    turn(made, [datagram(4)])
    return made


def turn(world: World, packets: list[bytes], *, forwarded: bool = False) -> int:
    """How many of them a turn has read."""
    world.tun.incoming = [offload.NOTHING_LEFT + packet for packet in packets]
    world.reader.forwards = forwarded
    world.reader.turn(BUDGET, 1.0)
    return len(packets) - len(world.tun.incoming)


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


def test_a_turn_that_reads_both_queues_is_whole(world: World) -> None:
    turn(world, [datagram(4)])
    assert turn(world, [datagram(4)] * 5, forwarded=True) == 5


def test_a_turn_that_has_not_looked_changes_no_backlog(world: World) -> None:
    """The router counts as busy only by turns that have read as many as they may."""
    turn(world, [datagram(4)])
    before = world.carriers.streams._table.emptied
    assert turn(world, [datagram(4)] * 5) == 1
    assert world.carriers.streams._table.emptied == before
    assert world.forwarder.policer._busy_until < 1.0


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
    assert turn(world, [relayed, datagram(4)], forwarded=True) == 2
    assert [each.data for each in trace.take()] == [relayed] * 2
