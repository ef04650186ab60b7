"""The order of reconciling: an address that stays captured always has a route."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from router.platform.linux import reconcile
from router.platform.linux.netlink.table_entry import TableEntry, entries_of
from router.policy.routes.route import Label, Route

INDEX = 7
TEN, TEN_LOW, TEN_HIGH = (10 << 24, 8), (10 << 24, 9), (10 << 24 | 1 << 23, 9)
FD, FD_LOW, FD_HIGH = (0xFD << 120, 8), (0xFD << 120, 9), (0xFD << 120 | 1 << 119, 9)
A, B = 1, 2
ADVMSS = ((8, b"\0\4\0\0"),)
OLD, SMALL = Label(1500), Label(1420)
FROM_A, FROM_B, TUNED = Label(1500, A), Label(1500, B), Label(1500, A, ADVMSS)


class Table:
    """The kernel's routing table of one family, in the order of look-up at each place; `probes`
    are looked up after each change. `addresses`: those that a route may have as its source."""

    def __init__(self, entries: Sequence[TableEntry], probes: Sequence[int]) -> None:
        self.entries = list(entries)
        self.changes = ""
        self.addresses = {A, B}
        self._probes = probes

    def add(self, index: int, entries: Sequence[TableEntry]) -> list[TableEntry]:
        def put(entry: TableEntry) -> None:
            if entry.version == 6:
                assert entry.place not in {each.place for each in self.entries}, "EEXIST"
            assert entry not in self.entries, "EEXIST"
            self.entries.insert(0, entry)

        return self._each("a", index, entries, put)

    def replace(self, index: int, entries: Sequence[TableEntry]) -> list[TableEntry]:
        def put(entry: TableEntry) -> None:
            self.entries = [each for each in self.entries if each.place != entry.place]
            self.entries.insert(0, entry)

        return self._each("r", index, entries, put)

    def delete(self, index: int, entries: Sequence[TableEntry]) -> None:
        def remove(entry: TableEntry) -> None:
            same = (each for each in self.entries if _is_deleted_by(each, entry))
            self.entries.remove(min(same, key=lambda each: each.metric))

        self._each("d", index, entries, remove)

    def _each(
        self,
        what: str,
        index: int,
        entries: Sequence[TableEntry],
        do: Callable[[TableEntry], None],
    ) -> list[TableEntry]:
        assert index == INDEX
        refused = []
        for entry in entries:
            if what != "d" and entry.has_source and entry.label.source not in self.addresses:
                refused.append(entry)
                continue
            do(entry)
            self.changes += what
            for address in self._probes:
                assert any(_covers(each, address) for each in self.entries), (what, entry)
        return refused


def _is_deleted_by(there: TableEntry, request: TableEntry) -> bool:
    """What a deletion leaves out matches everything (fib_table_delete, ip6_route_del)."""
    if there[:3] != request[:3] or (request.metric and request.metric != there.metric):
        return False
    if request.version == 6:
        return True
    mtu, source, metrics = request.label
    return (
        there.label.mtu == mtu
        and source in (None, there.label.source)
        and set(metrics) <= set(there.label.metrics)
    )


def _covers(entry: TableEntry, address: int) -> bool:
    shift = (32 if entry.version == 4 else 128) - entry.length
    return entry.first >> shift == address >> shift


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Callable[[Sequence[TableEntry]], Table]:
    def make(before: Sequence[TableEntry]) -> Table:
        ends = {4: (10 << 24, (11 << 24) - 1), 6: (0xFD << 120, (0xFE << 120) - 1)}
        made = Table(before, ends[before[0].version])
        monkeypatch.setattr(reconcile, "add_entries", made.add)
        monkeypatch.setattr(reconcile, "replace_entries", made.replace)
        monkeypatch.setattr(reconcile, "delete_entries", made.delete)
        return made

    return make


def run(table: Table, after: Sequence[Route]) -> reconcile.Restored:
    there = reconcile.Present(set(table.entries), set(), set())
    return reconcile.reconcile_routes(INDEX, after[0].version, after, there)


def entries(*routes: Route) -> list[TableEntry]:
    return list(entries_of(routes))


@pytest.mark.parametrize(
    ("before", "after", "order"),
    [
        ([Route(4, *TEN, OLD)], [Route(4, *TEN_LOW, OLD), Route(4, *TEN_HIGH, OLD)], "aad"),
        ([Route(4, *TEN_LOW, OLD), Route(4, *TEN_HIGH, OLD)], [Route(4, *TEN, OLD)], "add"),
        ([Route(6, *FD, OLD)], [Route(6, *FD_LOW, OLD), Route(6, *FD_HIGH, OLD)], "aad"),
        ([Route(6, *FD_LOW, OLD), Route(6, *FD_HIGH, OLD)], [Route(6, *FD, OLD)], "add"),
        ([Route(4, *TEN, OLD)], [Route(4, *TEN, SMALL)], "ad"),
        ([Route(6, *FD, OLD)], [Route(6, *FD, SMALL)], "r"),
        ([Route(6, *FD, FROM_A)], [Route(6, *FD, FROM_B)], "r"),
        ([Route(6, *FD, FROM_A)], [Route(6, *FD, OLD)], "r"),
    ],
)
def test_routes_are_added_before_others_are_removed(
    table: Callable[[Sequence[TableEntry]], Table],
    before: list[Route],
    after: list[Route],
    order: str,
) -> None:
    made = table(entries(*before))
    routes, sourceless = run(made, after)
    assert {*routes, *sourceless} == set(entries(*after))
    assert set(made.entries) == set(entries(*after))
    assert "".join(sorted(made.changes)) == "".join(sorted(order))


LABELS = [OLD, SMALL, FROM_A, FROM_B, TUNED, Label(1420, A), Label(1500, B, ADVMSS)]


@pytest.mark.parametrize("before", LABELS, ids=str)
@pytest.mark.parametrize("after", LABELS, ids=str)
@pytest.mark.parametrize(("version", "place"), [(4, TEN), (6, FD)])
def test_a_label_changes_without_an_instant_in_which_no_route_is_there(
    table: Callable[[Sequence[TableEntry]], Table],
    version: int,
    place: tuple[int, int],
    before: Label,
    after: Label,
) -> None:
    made = table(entries(Route(version, *place, before)))
    run(made, [Route(version, *place, after)])
    assert sorted(map(str, made.entries)) == sorted(
        map(str, entries(Route(version, *place, after)))
    )


@pytest.mark.parametrize(("version", "place"), [(4, TEN), (6, FD)])
@pytest.mark.parametrize("before", [OLD, FROM_B])
def test_a_route_whose_source_has_just_gone_stands_without(
    table: Callable[[Sequence[TableEntry]], Table],
    version: int,
    place: tuple[int, int],
    before: Label,
) -> None:
    made = table(entries(Route(version, *place, before)))
    made.addresses = {B}
    routes, sourceless = run(made, [Route(version, *place, FROM_A)])
    assert [each.label for each in made.entries] == [OLD]
    assert not [each for each in (*routes, *sourceless) if each.has_source]


@pytest.mark.parametrize(("version", "place"), [(4, TEN), (6, FD)])
def test_a_source_that_returns_is_told_from_a_route_that_was_removed(
    table: Callable[[Sequence[TableEntry]], Table], version: int, place: tuple[int, int]
) -> None:
    wanted = Route(version, *place, FROM_A)
    left = [each.without_source for each in entries(wanted)][:1]
    made = table(left)
    *_, sourced = entries(wanted)
    assert run(made, [wanted]) == ([], [sourced])
    assert set(made.entries) == set(entries(wanted))
