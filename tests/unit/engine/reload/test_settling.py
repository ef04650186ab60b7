"""When changes count as settled."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from router.engine.reload.settling import MISSING, QUIET, Settling, State

RULES, LIST = Path("rules.yaml"), Path("list.txt")
TICK = 0.25


def of(rules: int | None, listed: int | None = 1) -> State:
    return {
        RULES: None if rules is None else (rules,),
        LIST: None if listed is None else (listed,),
    }


def reports(*states: State, first: State | None = None) -> list[int]:
    """At which of the states, TICK seconds apart, something is reported."""
    settling = Settling(first or of(0))
    return [
        number for number, state in enumerate(states) if settling.see(state, 100 + number * TICK)
    ]


def test_what_stays_the_same_is_not_reported() -> None:
    assert reports(*[of(0)] * 20) == []


def test_a_change_is_reported_once_it_has_been_quiet() -> None:
    quiet = int(QUIET / TICK)
    assert reports(of(0), *[of(1)] * 20) == [1 + quiet]


def test_each_further_change_puts_it_off() -> None:
    quiet = int(QUIET / TICK)
    assert reports(of(1), of(2), of(2), of(3, 2), *[of(3, 3)] * 20) == [4 + quiet]


def test_a_moment_without_a_file_is_not_reported() -> None:
    """An editor has renamed the file, and not written the other yet."""
    gone = int(MISSING / TICK) - 1
    states = [*[of(None)] * gone, *[of(2)] * 20]
    assert reports(*states) == [gone + int(QUIET / TICK)]


def test_a_file_that_stays_away_is_reported() -> None:
    assert reports(*[of(0, None)] * 40) == [int(MISSING / TICK)]


def test_a_file_that_never_was_does_not_make_others_wait() -> None:
    first = of(0, None)
    assert reports(*[of(1, None)] * 20, first=first) == [int(QUIET / TICK)]


def test_a_change_that_is_taken_back_is_none() -> None:
    assert reports(of(1), of(0), *[of(0)] * 20) == []


def test_other_files_are_followed_from_what_is_known_of_them() -> None:
    settling = Settling({RULES: (0,)})
    assert not settling.see({RULES: (1,)}, 0)
    assert settling.see({RULES: (1,)}, QUIET)
    settling.follow([RULES, LIST], {RULES: (2,), LIST: (7,)})
    assert not settling.see({RULES: (2,), LIST: (7,)}, 1)  # changed since the report: it waits
    assert settling.see({RULES: (2,), LIST: (7,)}, 1 + QUIET)
    assert not settling.see({RULES: (2,), LIST: (8,)}, 2)
    assert settling.see({RULES: (2,), LIST: (8,)}, 2 + QUIET)


@given(st.lists(st.tuples(st.integers(0, 3) | st.none(), st.integers(1, 2) | st.none())))
def test_whatever_happens_the_last_state_is_reported_and_each_once(
    changes: list[tuple[int | None, int | None]],
) -> None:
    last = of(*changes[-1]) if changes else of(0)
    settling = Settling(of(0))
    reported = of(0)
    for number, state in enumerate([*map(lambda each: of(*each), changes), *[last] * 20]):  # noqa: C417
        if settling.see(state, number * TICK):
            assert state != reported
            reported = state
    assert reported == last
