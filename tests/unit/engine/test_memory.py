"""When memory is given back."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from sys import getsizeof

from router.engine.forwarder import FLOW_BYTES
from router.engine.memory import INTERVAL, MUCH, SpareMemory
from router.wire import ip
from tests.unit.engine.world import World, far
from tests.unit.wire.packets import INSIDE, echo_request

HOST = 9


class Bench:
    def __init__(self) -> None:
        self.held = 0
        self.done: list[str] = []
        self.memory = SpareMemory(
            lambda: self.held,
            lambda: self.done.append("shrink"),
            lambda: self.done.append("give back"),
        )

    def look(self, held: int, now: float) -> list[str]:
        self.held, self.done = held, []
        self.memory.look(now)
        return self.done


def test_memory_is_given_back_when_far_less_is_held() -> None:
    bench = Bench()
    assert bench.look(40 * MUCH, 1.0) == []
    assert bench.look(11 * MUCH, 2.0) == []
    assert bench.look(10 * MUCH, 3.0) == ["shrink", "give back"]
    assert bench.look(10 * MUCH, 3.0 + INTERVAL) == []
    assert bench.look(2 * MUCH, 4.0 + INTERVAL) == ["shrink", "give back"]
    assert bench.look(0, 4.5 + INTERVAL) == [], "too soon"
    assert bench.look(0, 4.0 + 2 * INTERVAL) == ["shrink", "give back"]
    assert bench.look(0, 4.0 + 3 * INTERVAL) == []


def test_nothing_is_done_for_little() -> None:
    bench = Bench()
    assert bench.look(MUCH - 1, 1.0) == []
    assert bench.look(0, 2.0) == []


def test_the_forwarder_counts_and_shrinks_what_it_holds(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(1000):
        world.send(echo_request(4, destination=far(4, HOST), identifier=number))
    source, to = (ip_address(each).packed for each in (INSIDE[4], far(4, HOST)))
    world.send(ip.build(source, to, ip.UDP, bytes(8), flags=ip.MORE_FRAGMENTS | 4000))
    assert world.forwarder.held > 1000 + 32_000 // FLOW_BYTES
    table = world.carriers.queries._tables[4]
    before = getsizeof(table.by_inside)
    world.forwarder.expire(1000.0)
    assert world.forwarder.held == 0
    world.forwarder.shrink()
    assert getsizeof(table.by_inside) * 50 < before
