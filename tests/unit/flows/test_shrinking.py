"""Tables give back the room of what they held once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from sys import getsizeof
from typing import Any

import pytest

from router.flows.icmp import QueryTable
from router.flows.reassembly import Reassembler
from router.flows.shares import Shares
from router.flows.shrinking import shrink
from router.flows.tally import Tally
from router.flows.tcp.table import FlowTable
from router.flows.udp.table import DatagramTable
from router.wire import ip

MUCH = 4000
TALLY = Tally("home", 1)
FAR, OWN, PEER = b"\xc6\x33\x64\1", b"\xc0\0\2\2", bytes([192, 168, 7, 2])
LISTENERS = [bytes([192, 168, 7, 1, 0x80, number]) for number in range(4)]
LATER = 1e6


def source(number: int) -> bytes:
    return b"\x0a\1" + number.to_bytes(2, "big")


def datagrams() -> DatagramTable[str, int]:
    table: DatagramTable[str, int] = DatagramTable(MUCH, lambda _: None)
    for number in range(MUCH):
        mapping = table.open("home", source(number), 9, OWN, 0x8000 + number, 1)
        table.begin(mapping, FAR, 7, ("far", 7), TALLY, 0.0)
    table.expire(LATER)
    return table


def queries() -> QueryTable[str]:
    table: QueryTable[str] = QueryTable(2 * MUCH)
    for number in range(MUCH):
        assert table.add("home", source(number), FAR, 8, number, "far", OWN, TALLY, 0.0)
    table.expire(LATER)
    return table


def connections() -> FlowTable[str]:
    """Of which all linger in the end."""
    table: FlowTable[str] = FlowTable(2 * MUCH, {4: PEER}, {4: LISTENERS})
    for number in range(MUCH):
        flow = table.begin(source(number) + FAR + bytes(4), b"", number, "home", TALLY, 0.0)
        table.connected(flow, 0.0)
        table.accepted(flow.alias)
    for flow in table.flows():
        table.linger(flow, 0.0)
    list(table.expired(LATER))
    return table


def fragments() -> Reassembler:
    made = Reassembler()
    for number in range(MUCH):
        flags = ip.MORE_FRAGMENTS | 1
        packet = ip.build(source(number), FAR, ip.UDP, bytes(8), flags=flags, identification=1)
        made.add(ip.parse(packet), 0.0)
    list(made.expire(LATER))
    return made


def _dicts(of: Any) -> Iterator[dict[Any, Any]]:
    """Those that a table consists of."""
    for name in getattr(of, "__slots__", None) or vars(of):
        member = getattr(of, name)
        if isinstance(member, Shares):
            yield from _dicts(member)
        elif isinstance(member, dict):
            yield member
            yield from (each for each in member.values() if isinstance(each, dict))


@pytest.mark.parametrize("full", [datagrams, queries, connections, fragments])
def test_a_table_that_was_full_once_shrinks(full: Callable[[], Any]) -> None:
    table = full()
    assert len(table) == 0
    before = sum(map(getsizeof, _dicts(table)))
    table.shrink()
    after = sum(map(getsizeof, _dicts(table)))
    assert before > 50 * MUCH
    assert after < 10_000


@pytest.mark.parametrize("kind", [dict, OrderedDict])
def test_what_is_left_stays_in_its_order(kind: Callable[[], dict[int, int]]) -> None:
    table = kind()
    table.update(dict.fromkeys(range(10_000)))  # type: ignore[arg-type]
    shrink(table)
    assert len(table) == 10_000
    for number in range(9_990):
        del table[number]
    before = getsizeof(table)
    shrink(table)
    assert getsizeof(table) * 50 < before
    assert list(table) == list(range(9_990, 10_000))
