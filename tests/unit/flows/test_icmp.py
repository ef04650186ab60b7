"""The table of query flows: unit tests, and a model of it that keeps everything for ever."""

from __future__ import annotations

from random import Random

import pytest

from router.flows.icmp import (
    IDLE,
    OUTSIDE_IDS,
    Binding,
    QueryTable,
    inside_key,
)
from router.flows.tally import Tally

TALLY = Tally("home", 1)
ECHO, TIMESTAMP = 8, 13
A, B = b"\x0a\0\0\1", b"\x0a\0\0\2"
OWN = b"\xc0\0\2\2"
FAR, FARTHER = b"\xc6\x33\x64\1", b"\xc6\x33\x64\2"


def add(
    table: QueryTable[str],
    source: bytes = A,
    destination: bytes = FAR,
    identifier: int = 7,
    *,
    kind: int = ECHO,
    outbound: str = "home",
    now: float = 0.0,
) -> Binding[str]:
    binding = table.add(outbound, source, destination, kind, identifier, "far", OWN, TALLY, now)
    assert binding is not None
    return binding


def find_answer(table: QueryTable[str], remote: bytes, identifier: int) -> Binding[str] | None:
    return table.answered(remote, ECHO, identifier)


def test_a_request_and_its_answer_find_the_binding() -> None:
    table: QueryTable[str] = QueryTable(10)
    binding = add(table)
    assert table.by_inside[inside_key(A, FAR, ECHO, 7)] is binding
    assert find_answer(table, FAR, binding.outside_id) is binding
    assert binding.outside_id in OUTSIDE_IDS


def test_a_reply_from_a_host_that_no_request_was_sent_to_finds_nothing() -> None:
    table: QueryTable[str] = QueryTable(10)
    assert find_answer(table, FARTHER, add(table).outside_id) is None


def test_mapping_is_endpoint_independent() -> None:
    """RFC 5508 REQ-1: one outside identifier for an inside source and identifier, whatever the
    destination; another one for another source or identifier or outbound."""
    table: QueryTable[str] = QueryTable(10)
    first = add(table)
    assert add(table, destination=FARTHER).outside_id == first.outside_id
    others = [add(table, source=B), add(table, identifier=8), add(table, source=B, identifier=9)]
    assert len({binding.outside_id for binding in [first, *others]}) == 4


def test_kinds_of_queries_share_a_mapping_and_no_answers() -> None:
    table: QueryTable[str] = QueryTable(10)
    echo, timestamp = add(table), add(table, kind=TIMESTAMP)
    assert echo.outside_id == timestamp.outside_id
    assert find_answer(table, FAR, echo.outside_id) is echo
    assert table.answered(FAR, TIMESTAMP, echo.outside_id) is timestamp


def test_a_binding_ends_sixty_seconds_after_its_last_use() -> None:
    """RFC 5508 REQ-2: a query times out after 60 seconds at the earliest."""
    table: QueryTable[str] = QueryTable(10)
    binding = add(table, now=0.0)
    binding.last = 30.0
    table.expire(IDLE + 29.9)
    assert find_answer(table, FAR, binding.outside_id) is binding
    table.expire(IDLE + 30.0)
    assert len(table) == 0
    assert find_answer(table, FAR, binding.outside_id) is None


def test_a_full_table_refuses_and_makes_room_by_itself() -> None:
    table: QueryTable[str] = QueryTable(2)
    add(table, identifier=1, now=0.0)
    add(table, identifier=2, now=10.0)
    assert table.add("home", A, FAR, ECHO, 3, "far", OWN, TALLY, 20.0) is None
    assert add(table, identifier=3, now=IDLE).inside_id == 3
    assert len(table) == 2


def test_no_identifier_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    few = OUTSIDE_IDS[:1000]
    monkeypatch.setattr("router.flows.icmp.OUTSIDE_IDS", few)
    table: QueryTable[str] = QueryTable(100_000)
    for number in range(len(few)):
        assert table.add("home", number.to_bytes(4, "big"), FAR, ECHO, 7, "far", OWN, TALLY, 0.0)
    assert table.add("home", b"\xff" * 4, FAR, ECHO, 7, "far", OWN, TALLY, 0.0) is None
    assert len(table) == len(few)
    table.expire(IDLE)
    assert len(table) == 0
    add(table)


def test_outside_identifiers_keep_clear_of_inside_ones() -> None:
    """Every raw socket of the machine gets every reply, so none may have its identifier."""
    table: QueryTable[str] = QueryTable(10)
    taken = OUTSIDE_IDS[0]
    add(table, identifier=taken)
    assert add(table, identifier=8).outside_id != taken


def test_an_older_mapping_changes_an_identifier_that_a_new_one_has_inside() -> None:
    table: QueryTable[str] = QueryTable(10)
    older, sibling = add(table), add(table, destination=FARTHER)
    former = older.outside_id
    newer = add(table, source=B, identifier=former)
    assert older.outside_id == sibling.outside_id != former
    assert former not in (older.outside_id, newer.outside_id)
    assert find_answer(table, FAR, former) is older, "an answer under way still arrives"
    assert find_answer(table, FARTHER, former) is sibling
    table.expire(IDLE)
    assert len(table) == 0
    assert find_answer(table, FAR, former) is find_answer(table, FAR, older.outside_id) is None


def test_the_bindings_of_an_outbound_can_be_ended() -> None:
    table: QueryTable[str] = QueryTable(10)
    add(table)
    kept = add(table, outbound="office", identifier=9)
    before = TALLY.flows
    for binding in table.of_outbound("home"):
        table.end(binding)
    assert table.flows() == [kept]
    table.expire(IDLE)
    assert (len(table), TALLY.flows) == (0, before - 2), "what was removed is not ended twice"


@pytest.mark.parametrize("seed", range(5))
def test_against_a_model(seed: int) -> None:
    """Random requests, answers and time; the model is a list of what should be there."""
    random = Random(seed)
    table: QueryTable[str] = QueryTable(40, first=random.randrange(1 << 16))
    model: dict[bytes, Binding[str]] = {}
    before = TALLY.flows
    now = 0.0
    for _ in range(3000):
        now += random.choice([0.0, 0.1, 1.0, 5.0])
        table.expire(now)
        model = {key: b for key, b in model.items() if b.last + IDLE > now}
        source, destination = random.choice([A, B]), random.choice([FAR, FARTHER])
        # Few identifiers, many of them from the outside range, so that they clash.
        identifier = random.choice([1, 2, 3, *OUTSIDE_IDS[:8], *range(0xFFFA, 0x10000)])
        key = inside_key(source, destination, ECHO, identifier)
        binding = table.by_inside.get(key)
        assert binding is model.get(key)
        if binding is None:
            binding = table.add(
                "home", source, destination, ECHO, identifier, "far", OWN, TALLY, now
            )
            assert (binding is None) == (len(model) >= 40)
            if binding is None:
                continue
            model[key] = binding
        binding.last = now
        check_invariants(table, model)
        assert len(table) == TALLY.flows - before


def check_invariants(table: QueryTable[str], model: dict[bytes, Binding[str]]) -> None:
    assert len(table) == len(model)
    inside_ids = {binding.inside_id for binding in model.values()}
    owners: dict[int, tuple[bytes, int]] = {}
    for binding in model.values():
        assert binding.outside_id in OUTSIDE_IDS
        assert binding.outside_id not in inside_ids
        owner = (binding.source, binding.inside_id)
        assert owners.setdefault(binding.outside_id, owner) == owner
        assert find_answer(table, binding.destination, binding.outside_id) is binding
