"""Numbers in turn, against lists that are searched."""

from __future__ import annotations

from random import Random

import pytest

from router.flows.numbers import NONE_LEFT, NumberList, NumberQueue


@pytest.mark.parametrize("seed", range(5))
def test_a_queue_against_a_list(seed: int) -> None:
    random = Random(seed)
    queue, free, used = NumberQueue(20), list(range(20)), list[int]()
    for _ in range(2000):
        if random.random() < 0.5:
            number = queue.take()
            assert number == (free.pop(0) if free else NONE_LEFT)
            used += [number] * (number != NONE_LEFT)
        elif used:
            free.append(used.pop(random.randrange(len(used))))
            queue.give_back(free[-1])


@pytest.mark.parametrize("first", [0, 1, 7, 19])
def test_a_list_against_a_list(first: int) -> None:
    random = Random(first)
    numbers, used = NumberList(20, first), list[int]()
    free = [*range(first, 20), *range(first)]
    for _ in range(2000):
        match random.randrange(3):
            case 0:
                number = numbers.take()
                assert number == (free.pop(0) if free else NONE_LEFT)
                used += [number] * (number != NONE_LEFT)
            case 1 if free:
                used.append(free.pop(random.randrange(len(free))))
                numbers.set_aside(used[-1])
            case 2 if used:
                free.append(used.pop(random.randrange(len(used))))
                numbers.give_back(free[-1])
        assert [numbers.is_free(number) for number in range(20)] == [
            number in free for number in range(20)
        ]
