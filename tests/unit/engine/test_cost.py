"""The cost of a packet at full tables: operations are counted, not time.

Each kind of packet, admitted or refused, meets tables that hold little and tables that hold much;
the lines of Python that run for it may grow by the logarithm of that, and no more. What C code does
at once counts as one line: of that (copies of lists, searches, iteration from the start of a dict),
the tables have none for a packet.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from router.flows.icmp import OUTSIDE_IDS, QueryTable
from router.flows.reassembly import Reassembler
from router.flows.tally import Tally
from router.flows.tcp.flow import ESTABLISHED
from router.flows.tcp.table import FlowTable
from router.flows.transit import TransitTable
from router.flows.udp.ports import outside_ports
from router.flows.udp.table import DatagramTable
from router.wire import ip
from tests.unit.engine.cost import GROWTH, LITTLE, MUCH, lines_of
from tests.unit.engine.tcp.cases import segment, tcp_world

TALLY = Tally("home", 1)
FAR, OWN, PEER = b"\xc6\x33\x64\1", b"\xc0\0\2\2", bytes([192, 168, 7, 2])
LISTENERS = [bytes([192, 168, 7, 1, 0x80, number]) for number in range(4)]
SOURCES = 200
LATER = 1.0


def source(number: int) -> bytes:
    """One of SOURCES hosts, none of which gets beyond its share."""
    return bytes([10, 1, 0, number % SOURCES])


def connections(held: int, limit: int) -> FlowTable[str]:
    """Relayed ones, whose aliases follow each other."""
    table: FlowTable[str] = FlowTable(limit, {4: PEER}, {4: LISTENERS})
    for number in range(held):
        flow = table.begin(_key(number), b"", number, "home", TALLY, 0.0)
        table.connected(flow, 0.0)
        table.accepted(flow.alias)
    return table


def _key(number: int) -> bytes:
    return source(number) + FAR + number.to_bytes(4, "big")


def a_request_at_a_full_tcp_table(held: int) -> Callable[[], object]:
    """All flows have been idle for long enough, and used since."""
    table = connections(held, held)
    list(table.expired(ESTABLISHED))
    for flow in table.flows():
        flow.last = ESTABLISHED
    return lambda: (table.has_room(source(0)), table.idle_longest(ESTABLISHED + 1))


def a_request_that_is_admitted(held: int) -> Callable[[], object]:
    table = connections(held, 2 * MUCH)

    def begin() -> None:
        assert table.has_room(b"new1")
        flow = table.begin(b"new1" + _key(0)[4:], b"", 1, "home", TALLY, LATER)
        assert table.connected(flow, LATER)
        table.end(flow)

    return begin


def the_end_of_a_connection(held: int) -> Callable[[], object]:
    """When as many linger."""
    table = connections(2 * held, 2 * MUCH)
    for flow in table.flows()[:held]:
        table.linger(flow, LATER)
    flow = table.flows()[held // 2]

    def end() -> None:
        table.linger(flow, LATER)
        table.end(flow)

    return end


def queries(held: int, limit: int) -> QueryTable[str]:
    """Of this machine, under identifiers that follow each other."""
    table: QueryTable[str] = QueryTable(limit)
    for number in range(held):
        assert _add(table, source(number), number)
    return table


def _add(table: QueryTable[str], of: bytes, identifier: int, far: bytes = FAR) -> object:
    return table.add("home", of, far, 8, identifier, "far", OWN, TALLY, LATER)


def a_query_at_a_full_table(held: int) -> Callable[[], object]:
    table = queries(held, 2 * MUCH)
    table.limit = held
    return lambda: _add(table, b"new1", 7)


def a_query_that_is_admitted(held: int) -> Callable[[], object]:
    """Where the identifiers that would be next are those of pings of this machine."""
    table = queries(held, 2 * MUCH)
    for number in range(held):
        _add(table, source(number), OUTSIDE_IDS[held + number])
    return lambda: _add(table, b"new1", OUTSIDE_IDS[3])


def a_query_that_changes_a_mapping(held: int) -> Callable[[], object]:
    """Of one identifier, which asks many hosts."""
    table: QueryTable[str] = QueryTable(4 * MUCH)
    for number in range(held):
        assert _add(table, b"old1", 5, number.to_bytes(4, "big"))
    return lambda: _add(table, b"new1", OUTSIDE_IDS[0])


def mappings(held: int, limit: int) -> DatagramTable[str, int]:
    """Each with a flow of its own, at even ports."""
    table: DatagramTable[str, int] = DatagramTable(limit, lambda _: None, 4 * limit)
    for number in range(held):
        _open(table, source(number), number, 0x8000 + 2 * number % 0x8000)
    return table


def _open(table: DatagramTable[str, int], of: bytes, port: int, outside: int) -> None:
    mapping = table.open("home", of, port, OWN, outside, 1)
    table.begin(mapping, FAR, 7, ("far", 7), TALLY, LATER)


def a_datagram_at_a_full_table(held: int) -> Callable[[], object]:
    table = mappings(held, held)
    return lambda: table.has_room(b"new1", None)


def a_datagram_that_is_admitted(held: int) -> Callable[[], object]:
    table = mappings(held, 2 * MUCH)

    def begin() -> None:
        assert table.has_room(b"new1", None)
        outside = next(outside_ports(1, 0, table.outside("home", OWN)))
        _open(table, b"new1", 9, outside)

    return begin


def a_datagram_to_another_port(held: int) -> Callable[[], object]:
    """Of a host to which there are many flows."""
    table: DatagramTable[str, int] = DatagramTable(10, lambda _: None, 4 * MUCH)
    mapping = table.open("home", b"old1", 4000, OWN, 4000, 1)
    for port in range(1, held):
        table.begin(mapping, FAR, port, ("far", port), TALLY, LATER)
    return lambda: table.begin(mapping, FAR, held, ("far", held), TALLY, LATER)


def _fragment(of: bytes, number: int, offset: int) -> ip.Packet:
    flags = ip.MORE_FRAGMENTS | offset >> 3
    return ip.parse(ip.build(of, FAR, ip.UDP, bytes(8), flags=flags, identification=number))


def a_fragment_of_many(held: int) -> Callable[[], object]:
    reassembler = Reassembler()
    for number in range(1, held):
        reassembler.add(_fragment(b"old1", 1, 8 * number), LATER)
    return lambda: reassembler.add(_fragment(b"old1", 1, 8 * held), LATER)


def a_fragment_beside_many_datagrams(held: int) -> Callable[[], object]:
    reassembler = Reassembler()
    for number in range(held):
        reassembler.add(_fragment(source(number), number, 8), LATER)
    return lambda: reassembler.add(_fragment(source(1), 9, 16), LATER)


def an_answer_around_the_router(held: int) -> Callable[[], object]:
    table = TransitTable(held)
    for number in range(held):
        table.accepted(_key(number))

    def answer() -> None:
        table.accepted(_key(held))
        assert table.knows(_key(held))

    return answer


@pytest.mark.parametrize(
    "case",
    [
        a_request_at_a_full_tcp_table,
        a_request_that_is_admitted,
        the_end_of_a_connection,
        a_query_at_a_full_table,
        a_query_that_is_admitted,
        a_query_that_changes_a_mapping,
        a_datagram_at_a_full_table,
        a_datagram_that_is_admitted,
        a_datagram_to_another_port,
        a_fragment_of_many,
        a_fragment_beside_many_datagrams,
        an_answer_around_the_router,
    ],
)
def test_a_packet_costs_the_logarithm_of_what_is_held(
    case: Callable[[int], Callable[[], object]],
) -> None:
    little, much = lines_of(case(LITTLE)), lines_of(case(MUCH))
    assert much <= little + GROWTH


def test_a_request_of_this_machine_costs_the_same_beside_many_dials(tmp_path: Path) -> None:
    """It may be one that a dial of ours has sent."""
    worlds = world, _ = tcp_world(tmp_path, most=100)
    own = segment(4, source={4: "192.0.2.2"}, sport=9)
    costs = []
    for dials in (2, 80):
        while len(worlds[1].dialled) < dials:
            world.send(segment(4, sport=1000 + len(worlds[1].dialled)))
        costs.append(lines_of(lambda: world.send(own)))
        world.tun.written.clear()
    assert costs[1] <= costs[0] + GROWTH
