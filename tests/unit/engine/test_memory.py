"""When memory is given back."""

from __future__ import annotations

from router.engine.memory import INTERVAL, MUCH, SpareMemory


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
