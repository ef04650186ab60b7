"""The table of connections that pass around the router."""

from __future__ import annotations

from router.flows.transit import TransitTable

ONE, OTHER, THIRD = b"one", b"other", b"third"


def test_a_connection_is_known_once_it_is_accepted() -> None:
    table = TransitTable()
    assert not table.knows(ONE)
    table.accepted(ONE)
    assert table.knows(ONE)
    assert not table.knows(OTHER)


def test_a_request_from_the_inside_forgets_it() -> None:
    table = TransitTable()
    table.accepted(ONE)
    table.forget(ONE)
    table.forget(OTHER)
    assert not table.knows(ONE)


def test_those_that_were_used_last_are_kept() -> None:
    table = TransitTable(limit=2)
    table.accepted(ONE)
    table.accepted(OTHER)
    assert table.knows(ONE)
    table.accepted(THIRD)
    assert [table.knows(key) for key in (ONE, OTHER, THIRD)] == [True, False, True]
    table.accepted(THIRD)
    assert len(table) == 2
