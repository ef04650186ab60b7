"""The expiry queue, against a list that is searched each time."""

from __future__ import annotations

from random import Random

import pytest

from router.flows.expiry import NEVER, SLACK, ExpiryQueue


class Item:
    """Expires `after` seconds from its last use."""

    def __init__(self, last: float, after: float) -> None:
        self.last = last
        self.after = after
        self.due = NEVER

    def expires(self, _now: float) -> float:
        return self.last + self.after


def test_an_item_is_taken_out_once_when_it_has_expired() -> None:
    queue: ExpiryQueue[Item] = ExpiryQueue()
    item = Item(0.0, 10.0)
    queue.schedule(item, 0.0)
    assert list(queue.expired(9.9)) == []
    assert list(queue.expired(10.0)) == [item]
    assert list(queue.expired(100.0)) == []
    assert (len(queue), item.due) == (0, NEVER)


def test_an_item_that_was_used_is_examined_again() -> None:
    queue: ExpiryQueue[Item] = ExpiryQueue()
    item = Item(0.0, 10.0)
    queue.schedule(item, 0.0)
    item.last = 5.0
    assert list(queue.expired(14.9)) == []
    assert list(queue.expired(15.0)) == [item]


def test_an_expiry_that_is_brought_forward_is_rescheduled() -> None:
    queue: ExpiryQueue[Item] = ExpiryQueue()
    item = Item(0.0, 1000.0)
    queue.schedule(item, 0.0)
    item.after = 10.0
    queue.schedule(item, 0.0)
    assert len(queue) == 1
    assert list(queue.expired(10.0)) == [item]
    assert list(queue.expired(1000.0)) == []


def test_removed_items_are_soon_freed() -> None:
    queue: ExpiryQueue[Item] = ExpiryQueue()
    held = Item(0.0, 7440.0)
    queue.schedule(held, 0.0)
    for _ in range(10_000):
        item = Item(0.0, 7440.0)
        queue.schedule(item, 0.0)
        queue.cancel(item)
        assert len(queue._heap) + len(queue._former) <= 2 * (len(queue) + 1) + SLACK + 1
    assert list(queue.expired(7440.0)) == [held]


def test_nothing_is_left_of_many_that_leave_at_once() -> None:
    """In the order in which they came, in the reverse, and in another one."""
    for seed in range(3):
        queue: ExpiryQueue[Item] = ExpiryQueue()
        items = [Item(float(number), 10.0) for number in range(5000)]
        for item in items:
            queue.schedule(item, 0.0)
        order = [items, items[::-1], Random(1).sample(items, len(items))][seed]
        for item in order[1:]:
            queue.cancel(item)
        assert len(queue._heap) + len(queue._former) <= 2 + SLACK
        assert list(queue.expired(1e9)) == order[:1]


@pytest.mark.parametrize("seed", range(5))
def test_against_a_list(seed: int) -> None:
    random = Random(seed)
    queue: ExpiryQueue[Item] = ExpiryQueue()
    items: list[Item] = []
    now = 0.0
    for _ in range(3000):
        now += random.choice([0.0, 0.5, 2.0])
        gone = [item for item in items if item.last + item.after <= now]
        items = [item for item in items if item.last + item.after > now]
        found = list(queue.expired(now))
        assert sorted(map(id, found)) == sorted(map(id, gone))
        items.append(Item(now, random.choice([1.0, 10.0, 100.0])))
        queue.schedule(items[-1], now)
        chosen = random.choice(items)
        match random.randrange(3):
            case 0:
                chosen.last = now
            case 1:
                chosen.after = random.choice([1.0, 10.0])
                queue.schedule(chosen, now)
            case _:
                queue.cancel(chosen)
                items.remove(chosen)
        assert len(queue) == len(items)
