"""Which flows are shown, in which order, and where the cursor is."""

from __future__ import annotations

import pytest

from router.cli.top.choice import ORDERS, chosen, following
from router.cli.top.cursor import Cursor
from router.cli.top.model import FlowRow
from tests.unit.cli.top.cases import flow, status, views

FLOWS = [
    flow(1, out=10, rtt_ms=3, age_s=None, policy="office"),
    flow(2, "udp", out=None, bytes_in=None, idle_s=None, rule=None, path="direct"),
    flow(3, "icmp", out=500, rtt_ms=9, age_s=90, destination="2001:db8::3", state="answered"),
]
LATER = [flow(1, out=110, policy="office"), FLOWS[1], {**FLOWS[2], "bytes_out": 501}]


def rows(text: str = "", order: str = "bytes") -> list[FlowRow]:
    (view,) = views((status(1, {}), FLOWS))
    return chosen(view.flows, text, order)


def ports(found: list[FlowRow]) -> list[int]:
    return [row.flow["source_port"] - 40000 for row in found]


@pytest.mark.parametrize(
    ("order", "expected"),
    [("bytes", [3, 1, 2]), ("rtt", [3, 1, 2]), ("age", [3, 2, 1]), ("idle", [3, 1, 2])],
)
def test_the_largest_first_and_what_is_not_known_last(order: str, expected: list[int]) -> None:
    assert ports(rows(order=order)) == expected


def test_by_rate() -> None:
    _, view = views((status(1, {}), FLOWS), (status(2, {}), LATER))
    assert ports(chosen(view.flows, "", "rate"))[0] == 1


def test_orders_follow_each_other_round() -> None:
    order, seen = ORDERS[0], []
    for _ in ORDERS:
        seen.append(order)
        order = following(order)
    assert (tuple(seen), order) == (ORDERS, ORDERS[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [3, 1, 2]),
        ("TCP", [1]),
        ("policy:office", [1]),
        ("policy:home path:direct", [2]),
        ("rule:1", [3, 1]),
        ("rule:default", [2]),
        ("port:443", [3, 1, 2]),
        ("port:40002", [2]),
        ("198.51.100.1", [1]),
        ("host:198.51.100", []),
        ("2001:db8:", [3]),
        ("state:answered eth0", [3]),
        ("tcp udp", []),
        ("policy:", []),
    ],
)
def test_filters(text: str, expected: list[int]) -> None:
    assert ports(rows(text)) == expected


def test_the_cursor_stays_on_its_flow() -> None:
    found, cursor = rows(), Cursor()
    assert cursor.row([]) is None
    cursor.settle(found, 3)
    cursor.move(found, 1)
    flow_of_cursor = found[1].key
    again = [found[2], found[0], found[1]]
    cursor.settle(again, 3)
    row = cursor.row(again)
    assert row is not None
    assert row.key == flow_of_cursor
    cursor.settle(again[:2], 3)  # it has ended
    assert cursor.index == 1
    cursor.move(again, -5)
    cursor.settle(found, 3)
    assert cursor.index == 0, "at the top it stays at the top"


def test_the_cursor_is_visible() -> None:
    (view,) = views((status(1, {}), [flow(host) for host in range(30)]))
    cursor = Cursor()
    for by, first in ((5, 0), (4, 0), (1, 1), (15, 16), (-10, 15), (100, 20), (-100, 0)):
        cursor.move(view.flows, by)
        cursor.settle(view.flows, 10)
        assert cursor.first == first
        assert cursor.first <= cursor.index < cursor.first + 10
    cursor.move(view.flows, 29)
    cursor.settle(view.flows[:3], 10)
    assert (cursor.first, cursor.index) == (0, 2)
