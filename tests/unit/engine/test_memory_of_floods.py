"""What remains when all that was begun has expired: nothing that adds up.

Counted are the objects and the entries of all containers that the forwarder reaches, the fakes
around it apart. The sources of each round are others, so what is kept for a source shows; the
bounds of caches are low, so that they are full after the first round.
"""

from __future__ import annotations

import gc
from collections import Counter, deque
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from itertools import islice
from pathlib import Path
from types import BuiltinMethodType, FunctionType, ModuleType
from typing import Any, Final

import pytest

from bench.flood_packets import KINDS
from router.flows import policer
from tests.fuzz.inputs import corpus
from tests.fuzz.machine import FOREVER, Machine, run_steps
from tests.unit.engine.world import World, close_worlds, far

ROUNDS: Final = 3
SOURCES: Final = 4
PACKETS: Final = 40
"""Of a source, of each kind."""
HOST: Final = 9
CONTAINERS: Final = (dict, list, set, frozenset, tuple, deque)
OPAQUE: Final = (type, ModuleType, BuiltinMethodType, str, bytes, bytearray, memoryview, int, float)


def reached(root: object) -> Counter[str]:
    """What is reached from an object: how many of each type, entries of containers."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    left = [root]
    while left:
        each = left.pop()
        if id(each) in seen or isinstance(each, OPAQUE) or _is_fake(each):
            continue
        seen.add(id(each))
        found[type(each).__qualname__] += len(each) if isinstance(each, CONTAINERS) else 1
        left += _parts(each)
    return found


def _is_fake(each: object) -> bool:
    return type(each).__module__.startswith("tests.")


def _parts(each: object) -> Iterable[Any]:
    """Of a function only what it encloses: it refers to its module, and so to everything."""
    return (each.__closure__ or ()) if isinstance(each, FunctionType) else gc.get_referents(each)


def remains(world: World, act: Callable[[int, float], None]) -> list[Counter[str]]:
    """After each round of an action, which gets its number and time."""
    found = []
    for number in range(ROUNDS):
        now = 1.0 + number * FOREVER
        act(number, now)
        while world.forwarder.expire(now + FOREVER / 2):
            pass
        world.forwarder.shrink()
        gc.collect()
        found.append(reached(world.forwarder))
    return found


def source(version: int, number: int) -> bytes:
    """Each of a network of its own."""
    four, six = (10 << 24) + number, (0xFD01 << 112) + (number << 64)
    return ip_address(four if version == 4 else six).packed


def test_floods_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policer, "MOST_SOURCES", SOURCES)
    world = World(tmp_path)

    def flood(number: int, now: float) -> None:
        for version in (4, 6):
            for host in range(1, 1 + SOURCES):
                of = source(version, number * SOURCES + host)
                to = ip_address(far(version, HOST)).packed
                for packets in KINDS.values():
                    world.send_together(list(islice(packets(of, to), PACKETS)), now)
        assert world.forwarder.held > 4 * SOURCES * PACKETS

    first, *others = remains(world, flood)
    assert others == [first] * (ROUNDS - 1)


def test_flows_that_were_answered_leave_nothing_behind(tmp_path: Path) -> None:
    """Those that the corpus of the fuzzed forwarder begins."""
    machine = Machine(tmp_path)

    def replay(_number: int, now: float) -> None:
        machine.now = now
        for data in corpus("machine"):
            run_steps(machine, data)
        assert any(tally.packets_in for tally in machine.world.forwarder.tallies)

    try:
        first, *others = remains(machine.world, replay)
        assert others == [first] * (ROUNDS - 1)
    finally:
        close_worlds()
