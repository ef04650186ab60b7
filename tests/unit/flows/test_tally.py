"""Tallies and their sums."""

from __future__ import annotations

from router.flows.tally import Tallies, Tally


def numbers(tally: Tally) -> tuple[int, ...]:
    return (
        *(tally.packets_out, tally.bytes_out, tally.packets_in, tally.bytes_in),
        tally.flows,
    )


def test_a_policy_and_a_rule_have_one_tally() -> None:
    tallies = Tallies()
    one = tallies.of("home", 1)
    assert tallies.of("home", 1) is one
    assert (one.policy, one.rule, numbers(one)) == ("home", 1, (0, 0, 0, 0, 0))
    others = [tallies.of("home", 2), tallies.of("reject", 1), tallies.of("home", 0)]
    assert len({*others, one}) == 4
    assert list(tallies.of_rule(1)) == [one, others[1]]
    assert list(tallies.of_rule(3)) == []
    assert sorted((each.rule, each.policy) for each in tallies) == [
        (0, "home"),
        (1, "home"),
        (1, "reject"),
        (2, "home"),
    ]


def test_reading_a_rule_makes_no_tally() -> None:
    tallies = Tallies()
    tallies.of_rule(7)
    assert list(tallies) == []


def test_what_the_system_counts_has_a_tally_of_its_own() -> None:
    tallies = Tallies()
    inside, outside = tallies.of("home", 1), tallies.of("home", 1, is_counted_outside=True)
    assert outside.is_counted_outside
    assert not inside.is_counted_outside
    assert list(tallies.of_rule(1)) == [inside, outside]
    inside.came_in(10)
    outside.came_in(100)
    outside.misses_answers = True
    after = tallies.renumbered({})
    after.settle()
    assert sorted((each.bytes_in, each.is_counted_outside) for each in after.former) == [
        (10, False),
        (100, True),
    ]
    assert [each.misses_answers for each in after.former] == [False, True]


def test_a_sum() -> None:
    tally, total = Tally("home", 1), Tally("home", 0)
    tally.went_out(84)
    tally.went_out(1500)
    tally.came_in(40)
    tally.flows += 1
    total.add(tally)
    total.add(tally)
    assert numbers(total) == (4, 3168, 2, 80, 2)
