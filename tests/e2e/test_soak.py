"""The shortest soak: some reloads, floods and flaps beside mixed traffic; see tests.soak. Which
floods depends on the seed of the run, see tests.seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tests.seed import choose
from tests.soak.soak import GROWTH_MB, LONGEST_LIFE_S, Sample, Size, Soaked, soak

SECONDS = 15.0
"""The events take a little longer."""


def test_nothing_is_lost_beside_a_reload_a_flood_and_a_flap() -> None:
    soaked = soak(SECONDS, first=choose())
    for kind in ("reloads", "floods", "flaps", "connections"):
        assert soaked.counts[kind], kind
    assert soaked.problems() == []


def judged(memory: Callable[[int], float], descriptors: Callable[[int], int]) -> list[str]:
    """What is wrong with a run of half an hour, by the sizes at each of its events."""
    samples = [
        Sample(float(at), {"router": Size(memory(at), descriptors(at))}) for at in range(0, 1800, 8)
    ]
    return Soaked(Counter(), [], samples).problems()


def test_what_floods_take_for_a_while_is_no_growth() -> None:
    def memory(at: int) -> float:
        return (38.0 if at < LONGEST_LIFE_S else 50.0) + (10.0 if at % 40 < 16 else 0.0)

    assert judged(memory, lambda at: 110 + at % 50) == []


def test_growth_between_floods_is_found() -> None:
    slow = 1.5 * GROWTH_MB / (1800 - LONGEST_LIFE_S) * 1.5
    assert len(judged(lambda at: 50 + slow * at + (10 if at % 40 < 16 else 0), lambda _: 110)) == 1
    assert len(judged(lambda _: 50.0, lambda at: 110 + at // 10)) == 1
