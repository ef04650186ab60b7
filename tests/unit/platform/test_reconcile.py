"""The order of reconciling: an address that stays captured always has a route."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from router.platform.linux import reconcile
from router.policy.routes.capture import Route

INDEX = 7
TEN, TEN_LOW, TEN_HIGH = (10 << 24, 8), (10 << 24, 9), (10 << 24 | 1 << 23, 9)
FD, FD_LOW, FD_HIGH = (0xFD << 120, 8), (0xFD << 120, 9), (0xFD << 120 | 1 << 119, 9)


class Table:
    """The kernel's routing table; `probes` are looked up after each change."""

    def __init__(self, routes: Sequence[Route], probes: Sequence[tuple[int, int]]) -> None:
        self.routes = set(routes)
        self.changes: list[str] = []
        self._probes = probes

    def add(self, index: int, routes: Sequence[Route]) -> None:
        self._each("add", index, routes, self.routes.add)

    def replace(self, index: int, routes: Sequence[Route]) -> None:
        def put(route: Route) -> None:
            self.routes = {each for each in self.routes if each[:3] != route[:3]} | {route}

        self._each("replace", index, routes, put)

    def delete(self, index: int, routes: Sequence[Route]) -> None:
        self._each("delete", index, routes, self.routes.remove)

    def _each(
        self, what: str, index: int, routes: Sequence[Route], do: Callable[[Route], None]
    ) -> None:
        assert index == INDEX
        for route in routes:
            do(route)
            self.changes.append(what)
            for version, address in self._probes:
                assert any(_covers(each, version, address) for each in self.routes), (what, route)


def _covers(route: Route, version: int, address: int) -> bool:
    shift = (32 if version == 4 else 128) - route.length
    return route.version == version and route.first >> shift == address >> shift


@pytest.mark.parametrize(
    ("before", "after", "order"),
    [
        ([Route(4, *TEN, 1500)], [Route(4, *TEN_LOW, 1500), Route(4, *TEN_HIGH, 1500)], "aad"),
        ([Route(4, *TEN_LOW, 1500), Route(4, *TEN_HIGH, 1500)], [Route(4, *TEN, 1500)], "add"),
        ([Route(6, *FD, 1500)], [Route(6, *FD_LOW, 1500), Route(6, *FD_HIGH, 1500)], "aad"),
        ([Route(6, *FD_LOW, 1500), Route(6, *FD_HIGH, 1500)], [Route(6, *FD, 1500)], "add"),
        ([Route(4, *TEN, 1500)], [Route(4, *TEN, 1420)], "ad"),
        ([Route(6, *FD, 1500)], [Route(6, *FD, 1420)], "r"),
    ],
    ids=["halves", "whole", "halves, IPv6", "whole, IPv6", "MTU", "MTU, IPv6"],
)
def test_routes_are_added_before_others_are_removed(
    monkeypatch: pytest.MonkeyPatch, before: list[Route], after: list[Route], order: str
) -> None:
    ends = {4: (10 << 24, (11 << 24) - 1), 6: (0xFD << 120, (0xFE << 120) - 1)}
    version = before[0].version
    table = Table(before, [(version, address) for address in ends[version]])
    monkeypatch.setattr(reconcile, "add_routes", table.add)
    monkeypatch.setattr(reconcile, "replace_routes", table.replace)
    monkeypatch.setattr(reconcile, "delete_routes", table.delete)
    there = reconcile.Present(set(before), set(), set())
    assert set(reconcile.reconcile_routes(INDEX, after, there)) == set(after)
    assert table.routes == set(after)
    assert "".join(each[0] for each in table.changes) == order
