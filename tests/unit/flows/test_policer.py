"""What a source may begin while the router is busy, with the time as an argument."""

from __future__ import annotations

from router.flows.policer import (
    AT_ONCE,
    BACKLOG,
    BURST,
    CALM,
    MOST_SOURCES,
    RATE,
    RELAPSE,
    Admission,
    Policer,
)

ONE, OTHER = b"\x0a\0\0\1", b"\x0a\0\0\2"


def admits(policer: Policer, source: bytes, now: float) -> bool:
    """At once or later."""
    return policer.admission(source, now) is not Admission.REFUSED


def busy(now: float = 100.0) -> Policer:
    """One whose queue has not been empty for long enough."""
    policer = Policer()
    policer.not_emptied(now - 2 * BACKLOG)
    policer.not_emptied(now)
    return policer


def test_nothing_is_held_off_while_the_queue_gets_empty() -> None:
    policer = Policer()
    for number in range(100_000):
        now = number / 100_000
        policer.not_emptied(now)
        policer.emptied()
        assert admits(policer, ONE, now)
        assert not policer.is_held_off(ONE, now)


def test_a_busy_router_holds_off_the_source_that_has_had_its_burst() -> None:
    policer = busy()
    assert [admits(policer, ONE, 100.0) for _ in range(int(BURST) + 1)] == [True] * int(BURST) + [
        False
    ]
    assert policer.is_held_off(ONE, 100.01)
    assert not policer.is_held_off(OTHER, 100.01)
    assert admits(policer, OTHER, 100.01)
    policer.not_emptied(100.5)
    assert not policer.is_held_off(ONE, 100.5)
    assert sum(admits(policer, ONE, 100.5) for _ in range(1000)) == int(0.5 * RATE)


def test_the_first_packets_of_a_burst_go_on_at_once_and_the_others_wait() -> None:
    policer = busy()
    first = [policer.admission(ONE, 100.0) for _ in range(int(BURST))]
    at_once = int(AT_ONCE)
    assert first == [Admission.NOW] * at_once + [Admission.LATER] * (int(BURST) - at_once)
    assert policer.admission(OTHER, 100.0) is Admission.NOW
    policer.emptied()
    assert policer.admission(ONE, 100.0 + CALM) is Admission.NOW


def test_a_source_that_wants_more_keeps_the_router_busy_for_some_time() -> None:
    policer, now = busy(), 100.0
    policer.emptied()
    while now < 100.0 + RELAPSE - 0.1:
        assert not all(admits(policer, ONE, now) for _ in range(int(BURST) + 1))
        now += CALM / 2
    assert all(admits(policer, ONE, 100.0 + RELAPSE) for _ in range(int(BURST) + 1))


def test_it_is_calm_again_some_time_after_the_last_backlog() -> None:
    policer = busy()
    for _ in range(int(BURST)):
        admits(policer, ONE, 100.0)
    assert not admits(policer, ONE, 100.0)
    policer.emptied()
    assert all(admits(policer, ONE, 100.0 + CALM) for _ in range(10_000))


def test_a_rest_between_two_turns_is_no_backlog() -> None:
    policer = Policer()
    policer.not_emptied(1.0)
    policer.emptied()
    policer.not_emptied(50.0)
    assert all(admits(policer, ONE, 50.0) for _ in range(10_000))


def test_as_many_sources_as_are_kept() -> None:
    policer = busy()
    for number in range(2 * MOST_SOURCES):
        for _ in range(2):
            admits(policer, number.to_bytes(4, "big"), 100.0)
    assert len(policer._buckets) == MOST_SOURCES
