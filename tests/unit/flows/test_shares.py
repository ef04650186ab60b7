"""Fair shares of a table: what greedy sources get, and what is left for others."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.flows.shares import EMPTY_AGAIN, FACTOR, FEW, RESERVED, Shares, source_of
from tests.unit.examples import examples

LIMIT = 16_384


def address(number: int) -> bytes:
    return number.to_bytes(4, "big")


def admitted(shares: Shares, source: bytes, limit: int = LIMIT, most: int = 1 << 20) -> int:
    """How much it gets when it wants `most`."""
    for number in range(most):
        if not shares.admits(source, limit - shares.total):
            return number
        shares.take(source)
    return most


@pytest.mark.parametrize("greedy", [1, 2, 3, 10])
def test_greedy_sources_get_equal_shares_and_leave_room(greedy: int) -> None:
    shares = Shares()
    for _ in range(LIMIT):
        for number in range(greedy):
            admitted(shares, address(number), most=1)
    expected = FACTOR * (LIMIT - LIMIT // RESERVED) / (FACTOR * greedy + 1)
    for number in range(greedy):
        assert shares.held_by(address(number)) == pytest.approx(expected, rel=0.01)
    assert admitted(shares, b"late", most=FEW) == FEW


def test_many_sources_leave_something_for_the_next() -> None:
    shares = Shares()
    for number in range(30):
        admitted(shares, address(number))
    assert admitted(shares, b"late") >= 10


def test_an_ipv6_host_is_its_network() -> None:
    shares = Shares()
    shares.take(b"\xfd" * 8 + bytes(8))
    assert shares.held_by(b"\xfd" * 8 + b"\1" * 8) == 1
    assert shares.held_by(b"\xfd" * 7 + b"\1" * 9) == 0


def test_a_small_table_is_for_anybody() -> None:
    assert admitted(Shares(), address(1), limit=FEW) == FEW


def test_a_crowd_begins_at_half_and_ends_when_there_is_little() -> None:
    shares = Shares()
    for number in range(LIMIT // 2):
        admitted(shares, address(number // 100), most=1)
        assert not shares.is_crowded
    admitted(shares, b"last", most=1)
    assert shares.is_crowded
    for number in range(LIMIT // 2):
        shares.give_back(address(number // 100))
        assert shares.is_crowded == (shares.total * EMPTY_AGAIN > LIMIT)


@settings(max_examples=examples(50))
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 300), st.booleans()), max_size=200))
def test_against_a_list(steps: list[tuple[int, int, bool]]) -> None:
    shares, held = Shares(few=10), [0] * 5
    for number, amount, takes in steps:
        source = address(number)
        if takes and shares.admits(source, 1000 - sum(held), amount):
            shares.take(source, amount)
            held[number] += amount
        elif not takes and held[number]:
            less = min(amount, held[number])
            shares.give_back(source, less)
            held[number] -= less
        assert [shares.held_by(address(each)) for each in range(5)] == held
        assert shares.total == sum(held) <= 1000


def test_a_source_of_nothing_costs_nothing() -> None:
    shares = Shares()
    for number in range(1000):
        shares.take(address(number))
        shares.give_back(address(number))
    assert not shares._held
    assert source_of(bytes(16)) == bytes(8)
