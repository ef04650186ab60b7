"""Sources that begin more than a busy router has time for."""

from __future__ import annotations

import pytest

from router.flows.policer import AT_ONCE, BACKLOG, BURST
from router.flows.waiting import PATIENCE
from tests.unit.engine.world import World, far
from tests.unit.wire.packets import echo_request

HOME = 6
BOTH = pytest.mark.parametrize("version", [4, 6])
NOW = 100.0


def make_busy(world: World) -> None:
    policer = world.forwarder.policer
    policer.not_emptied(NOW - 2 * BACKLOG)
    policer.not_emptied(NOW)


def ping(version: int, identifier: int) -> bytes:
    return echo_request(version, destination=far(version, HOME), identifier=identifier)


def begun(world: World) -> int:
    return world.carriers.counts()["icmp"]


@BOTH
def test_a_burst_goes_on_later_and_nothing_of_it_is_lost(world: World, version: int) -> None:
    make_busy(world)
    for number in range(400):
        world.send(ping(version, number), NOW)
    assert begun(world) == AT_ONCE
    turns = 0
    while world.forwarder.begin_waiting(NOW + 0.5, 4):
        turns += 1
        assert begun(world) == AT_ONCE + 4 * turns
    assert begun(world) == 400
    assert world.drops == {}


@BOTH
def test_what_is_beyond_the_burst_or_waits_for_too_long_is_dropped(
    world: World, version: int
) -> None:
    make_busy(world)
    for number in range(int(BURST) + 7):
        world.send(ping(version, number), NOW)
    assert world.drops == {"held-off": 7}
    assert not world.forwarder.begin_waiting(NOW + PATIENCE + 0.1, int(BURST))
    assert begun(world) == AT_ONCE
    assert world.drops == {"held-off": 7 + BURST - AT_ONCE}


@BOTH
def test_packets_of_a_flow_that_waits_follow_its_first(world: World, version: int) -> None:
    make_busy(world)
    for number in range(int(AT_ONCE)):
        world.send(ping(version, number), NOW)
    for _ in range(3):
        world.send(ping(version, 5000), NOW)
    assert not world.forwarder.begin_waiting(NOW, 4)
    assert begun(world) == AT_ONCE + 1
    assert len(world.sent("home", version)) == AT_ONCE + 3
