"""The table of UDP flows: RFC 4787's requirements by name, and a model that is obviously right."""

from __future__ import annotations

from itertools import count
from random import Random

import pytest

from router.flows.shares import FEW
from router.flows.tally import Tally
from router.flows.udp.flow import (
    DNS_IDLE,
    DNS_PORT,
    EXCHANGE_IDLE,
    IDLE,
    MOST_SENDERS,
    Flow,
    flow_key,
)
from router.flows.udp.ports import MOST_LOOKS, MOST_TRIES, outside_ports
from router.flows.udp.table import FLOW_LIMIT, DatagramTable

A, B = b"\x0a\0\0\1", b"\x0a\0\0\2"
A6 = b"\xfd" + bytes(14) + b"\1"
OWN, NEW_OWN = b"\xc0\0\2\2", b"\xc0\0\2\3"
FAR, FARTHER = b"\xc6\x33\x64\1", b"\xc6\x33\x64\2"
PORT = 7007
"""Not a well-known one."""
TALLY = Tally("home", 1)

_sockets = count()


class Table(DatagramTable[str, int]):
    """Records the sockets closed since the last call of `expired`."""

    def __init__(self, mapping_limit: int, flow_limit: int = FLOW_LIMIT) -> None:
        self.closed: list[int] = []
        super().__init__(mapping_limit, self.closed.append, flow_limit)

    def expired(self, now: float) -> list[int]:
        """The sockets that expiry has closed."""
        self.closed.clear()
        self.expire(now)
        return list(self.closed)


def begin(
    table: Table,
    source: bytes = A,
    source_port: int = 4000,
    destination: bytes = FAR,
    port: int = PORT,
    *,
    outbound: str = "home",
    own: bytes = OWN,
    tally: Tally = TALLY,
    now: float = 0.0,
) -> Flow[str, int]:
    """As the engine does for a datagram without a flow."""
    mapping = table.mapping(outbound, source, source_port, own)
    if mapping is None:
        outside = next(outside_ports(source_port, 0, table.outside(outbound, own)))
        mapping = table.open(outbound, source, source_port, own, outside, next(_sockets))
    return table.begin(mapping, destination, port, ("far", port), tally, now)


def test_a_datagram_finds_its_flow_by_the_bytes_of_its_header() -> None:
    table = Table(10)
    flow = begin(table)
    assert table.by_inside[A + FAR + b"\x0f\xa0\x1b\x5f"] is flow
    assert flow.address == ("far", PORT)


def test_req_1_the_mapping_is_endpoint_independent() -> None:
    """RFC 4787 REQ-1."""
    table = Table(10)
    flows = [
        begin(table),
        begin(table, port=8),
        begin(table, destination=FARTHER),
        begin(table, destination=FARTHER, port=DNS_PORT),
    ]
    assert len({id(flow.mapping) for flow in flows}) == 1
    assert table.mappings == 1
    others = [begin(table, B), begin(table, source_port=4002), begin(table, outbound="office")]
    assert len({id(flow.mapping) for flow in [flows[0], *others]}) == 4


def test_req_3_no_port_is_used_for_two_inside_endpoints() -> None:
    """RFC 4787 REQ-3: no port overloading, whatever the destination."""
    table = Table(100)
    flows = [begin(table, number.to_bytes(4, "big")) for number in range(1, 101)]
    assert len({flow.mapping.outside_port for flow in flows}) == 100
    assert flows[0].mapping.outside_port == 4000
    elsewhere = begin(table, outbound="office")
    assert elsewhere.mapping.outside_port == 4000, "each outbound has ports of its own"


@pytest.mark.parametrize("port", [*range(0, 70), 1022, 1023, 1024, 1025, 4000, 65534, 65535])
def test_req_4_ports_keep_their_parity(port: int) -> None:
    """RFC 4787 REQ-4. A well-known port is left to this machine's own services."""
    candidates = list(outside_ports(port, 12345, ()))
    assert (candidates[0] == port) == (port >= 1024)
    assert len(set(candidates)) == len(candidates) == MOST_TRIES
    assert {candidate % 2 for candidate in candidates} == {port % 2}
    assert all(0x8000 <= candidate < 0x10000 for candidate in candidates[1:])


def test_a_bounded_number_of_ports_is_looked_at() -> None:
    """A tenth of the range is enough."""
    free = set(Random(1).sample(range(0x8000, 0x10000, 2), 1638))
    for first in range(0, 65536, 1000):
        looked_at = Looks(set(range(65536)) - free)
        assert next(outside_ports(4000, first, looked_at)) in free
        assert looked_at.number <= MOST_LOOKS


class Looks:
    """Counts how often it is searched."""

    def __init__(self, ports: set[int]) -> None:
        self.number = 0
        self._ports = ports

    def __contains__(self, port: object) -> bool:
        self.number += 1
        return port in self._ports


def test_ports_that_are_taken_are_not_tried() -> None:
    first, second, *_ = outside_ports(4000, 5, ())
    assert next(outside_ports(4000, 5, {first})) == second
    assert not list(outside_ports(4000, 5, range(65536)))
    assert list(outside_ports(4000, 5, ())) != list(outside_ports(4000, 6, ()))


def test_req_5_a_mapping_ends_five_minutes_after_its_last_datagram() -> None:
    """RFC 4787 REQ-5: not before 2 minutes; 5 are recommended."""
    assert IDLE >= 120
    table = Table(10)
    flow = begin(table)
    assert table.expired(IDLE - 0.1) == []
    assert table.expired(IDLE) == [flow.mapping.socket]
    assert (len(table), table.mappings) == (0, 0)
    assert table.mapping("home", A, 4000, OWN) is None
    assert begin(table, B, now=IDLE).mapping.outside_port == 4000, "its port is free again"


@pytest.mark.parametrize("direction", ["last_out", "last_in"])
def test_req_6_datagrams_of_both_directions_refresh(direction: str) -> None:
    """RFC 4787 REQ-6: outbound must, inbound may."""
    table = Table(10)
    flow = begin(table)
    setattr(flow.remote, direction, 200.0)
    assert table.expired(IDLE + 199.9) == []
    assert table.expired(IDLE + 200.0) == [flow.mapping.socket]


def test_a_mapping_is_kept_as_long_as_one_of_its_remotes() -> None:
    table = Table(10)
    first = begin(table)
    second = begin(table, destination=FARTHER, now=100.0)
    assert table.expired(IDLE) == []
    assert list(table.by_inside.values()) == [second]
    assert first.mapping.admit(b"far 7", FAR, 7) is None, "the permission has ended"
    assert table.expired(IDLE + 100) == [first.mapping.socket]


def test_dns_ends_soon_after_the_answer_and_not_before() -> None:
    table = Table(10)
    flow = begin(table, port=DNS_PORT)
    assert table.expired(EXCHANGE_IDLE - 1) == []
    flow.remote.last_out = 29.5
    assert table.expired(29.5 + EXCHANGE_IDLE - 0.1) == []
    flow.remote.last_in = 59.0
    assert table.expired(59.0 + DNS_IDLE - 0.1) == []
    assert table.expired(59.0 + 2 * DNS_IDLE) == [flow.mapping.socket]


def test_dns_without_an_answer_ends_after_half_a_minute() -> None:
    table = Table(10)
    flow = begin(table, port=DNS_PORT)
    assert table.expired(EXCHANGE_IDLE - 0.1) == []
    assert table.expired(EXCHANGE_IDLE) == [flow.mapping.socket]


@pytest.mark.parametrize("port", [7, 123, 443, 1023])
def test_req_5_a_one_exchange_with_a_well_known_port_ends_soon(port: int) -> None:
    """RFC 4787 REQ-5 a. A second question makes it a flow like any other."""
    table = Table(10)
    unanswered, answered, asked_twice = (begin(table, A, sport, port=port) for sport in (1, 2, 3))
    answered.remote.last_in = 20.0
    assert table.expired(EXCHANGE_IDLE - 0.1) == []
    asked_twice.remote.last_out = 29.9
    assert table.expired(EXCHANGE_IDLE) == [unanswered.mapping.socket]
    assert table.expired(20.0 + EXCHANGE_IDLE) == [answered.mapping.socket]
    assert table.expired(29.9 + IDLE - 0.1) == []
    assert table.expired(29.9 + IDLE) == [asked_twice.mapping.socket]


def test_req_5_one_exchange_with_another_port_is_kept() -> None:
    table = Table(10)
    flow = begin(table, port=1024)
    begin(table, source_port=4002, port=7)
    begin(table, source_port=4002, port=1024)
    assert table.expired(IDLE - 0.1) == []
    assert flow.mapping.socket in table.expired(IDLE)


@pytest.mark.parametrize("answer_after", [0.02, None], ids=["answered", "unanswered"])
def test_a_resolver_with_350_queries_a_second_never_meets_the_limit(
    answer_after: float | None,
) -> None:
    """Each from a port of its own, as unbound does; some of its servers answer, others do not."""
    table = Table(16_384)
    for number in range(350 * 60):
        now = number / 350
        if number % 350 == 0:
            table.expire(now)
        assert table.has_room(A, None), f"after {now} s"
        source_port = 1024 + number % 64_000
        flow = begin(table, A, source_port, number.to_bytes(4, "big"), DNS_PORT, now=now)
        if answer_after is not None:
            flow.remote.last_in = now + answer_after
    assert len(table) < (12_000 if answer_after is None else 8_000)


def test_a_host_that_answers_more_than_dns_is_kept() -> None:
    table = Table(10)
    flow = begin(table, port=DNS_PORT)
    begin(table)
    flow.remote.last_in = 1.0
    assert table.expired(IDLE) == []
    assert table.expired(IDLE + 1.0) == [flow.mapping.socket]


def test_req_8_filtering_is_address_dependent() -> None:
    """RFC 4787 REQ-8: a host that was sent to may reply, from any port; no other host may."""
    mapping = begin(Table(10)).mapping
    assert mapping.admit(b"far 7", FAR, 7)
    assert mapping.admit(b"far 9", FAR, 9)
    assert mapping.admit(b"farther", FARTHER, 7) is None
    assert set(mapping.senders) == {b"far 7", b"far 9"}


def test_the_senders_of_a_remote_are_bounded_and_end_with_it() -> None:
    table = Table(10)
    mapping = begin(table).mapping
    begin(table, destination=FARTHER, now=100.0)
    for port in range(1, 1000):
        assert mapping.admit(b"%d" % port, FAR, port)
        assert len(mapping.senders) <= MOST_SENDERS
    assert mapping.admit(b"farther", FARTHER, 7)
    table.expire(IDLE)
    assert set(mapping.senders) == {b"farther"}


def test_an_answer_counts_for_the_flow_that_it_answers() -> None:
    table = Table(10)
    one, other = Tally("home", 1), Tally("home", 2)
    mapping = begin(table, port=7, tally=one).mapping
    early = mapping.admit(b"early", FAR, 8)
    begin(table, port=8, tally=other)
    again = mapping.senders.get(b"early") or mapping.admit(b"early", FAR, 8)
    seven, never_sent_to = mapping.admit(b"seven", FAR, 7), mapping.admit(b"nine", FAR, 9)
    assert early is not None
    assert again is not None
    assert seven is not None
    assert never_sent_to is not None
    assert [each.flow.tally.rule for each in (early, again, seven, never_sent_to)] == [1, 2, 1, 1]


def test_req_11_what_exists_is_never_ended_for_what_is_new() -> None:
    """RFC 4787 REQ-11: the behaviour is the same under load."""
    table = Table(2, flow_limit=4)
    first, second = begin(table), begin(table, B)
    assert not table.has_room(A, None)
    assert table.has_room(A, first.mapping)
    begin(table, port=8)
    begin(table, B, port=8)
    assert not table.has_room(A, first.mapping)
    assert table.by_inside[second.key] is second


def test_each_outside_address_has_ports_and_mappings_of_its_own() -> None:
    """The system sends from another address to some destinations, or from now on."""
    table = Table(10)
    old = begin(table).mapping
    new = begin(table, destination=FARTHER, own=NEW_OWN).mapping
    assert (old.outside_port, new.outside_port) == (4000, 4000)
    assert begin(table, port=8).mapping is old
    assert table.outside("home", OWN) == {4000: old}
    assert table.outside("home", NEW_OWN) == {4000: new}
    assert table.replied_to(FAR, 9, A, 4000) is old
    assert table.replied_to(FARTHER, 9, A, 4000) is new
    table.expire(IDLE)
    assert not table.outside("home", OWN)


def test_families_have_ports_of_their_own() -> None:
    table = Table(10)
    six = begin(table, A6, own=bytes(16))
    assert begin(table).mapping.outside_port == six.mapping.outside_port == 4000


def test_the_flows_of_an_outbound_can_be_ended() -> None:
    table = Table(10)
    gone = begin(table)
    begin(table, destination=FARTHER)
    kept = begin(table, port=9, outbound="office")
    for flow in table.of_outbound("home"):
        table.end(flow)
    assert table.closed == [gone.mapping.socket]
    assert table.flows() == [kept]
    assert table.all() == [kept.mapping]
    assert table.expired(IDLE) == [kept.mapping.socket], "what was removed is not ended twice"


@pytest.mark.parametrize("seed", range(6))
def test_against_a_model(seed: int) -> None:
    """Random datagrams, answers and time. The model is a list of all that has ever been sent and
    received, searched each time."""
    random = Random(seed)
    table = Table(12, flow_limit=40)
    alive: dict[tuple[bytes, int, bytes], list[Flow[str, int]]] = {}
    last: dict[tuple[bytes, int, bytes], tuple[float, float, float]] = {}
    before = TALLY.flows
    now = 0.0
    for _ in range(4000):
        now += random.choice([0.0, 0.5, 3.0, 20.0])
        ended = table.expired(now)
        model_expire(alive, last, now, ended)
        source, source_port = random.choice([A, B, A6]), random.choice([4000, 4001, 4002, 53])
        far = random.choice([FAR, FARTHER]) if len(source) == 4 else A6
        port = random.choice([DNS_PORT, DNS_PORT, 7, PORT])
        key = (source, source_port, far)
        flow = table.by_inside.get(flow_key(source, far, source_port, port))
        assert (flow is None) == (port not in {f.address[1] for f in alive.get(key, [])})
        if flow is None:
            mapping = table.mapping("home", source, source_port, OWN)
            used = {known[:2] for known in alive}
            assert (mapping is None) == ((source, source_port) not in used)
            room = sum(map(len, alive.values())) < 40
            assert table.has_room(source, mapping) == (
                room and (mapping is not None or len(used) < 12)
            )
            if not table.has_room(source, mapping):
                continue
            flow = begin(table, source, source_port, far, port, own=OWN, now=now)
            alive.setdefault(key, []).append(flow)
            last.setdefault(key, (now, now, float("-inf")))
            last[key] = (last[key][0], now, last[key][2])
            flow.remote.last_out = now
        if random.random() < 0.5:
            flow.remote.last_out = now
            last[key] = (last[key][0], now, last[key][2])
        if random.random() < 0.5:
            address = far + port.to_bytes(2, "big")
            assert flow.mapping.senders.get(address) or flow.mapping.admit(address, far, port)
            flow.remote.last_in = now
            last[key] = (*last[key][:2], now)
        ports = [
            flow.mapping.outside_port
            for flow in {f[0].mapping: f[0] for f in alive.values()}.values()
        ]
        four = [m for m in table.all() if m.version == 4]
        assert len({m.outside_port for m in four}) == len(four)
        assert len(table) == sum(map(len, alive.values())) == TALLY.flows - before
        assert len(ports) == table.mappings


def model_expire(
    alive: dict[tuple[bytes, int, bytes], list[Flow[str, int]]],
    last: dict[tuple[bytes, int, bytes], tuple[float, float, float]],
    now: float,
    ended: list[int],
) -> None:
    """What expired long ago must be gone; what is just due may be examined a little later when
    its end was brought forward, by DNS_IDLE at most."""
    for key in list(alive):
        began, out, back = last[key]
        ports = {flow.address[1] for flow in alive[key]}
        only_dns = ports == {DNS_PORT}
        if only_dns:
            end = back + DNS_IDLE if back >= out else out + EXCHANGE_IDLE
        else:
            is_exchange = max(ports) < 1024 and out == began
            end = max(back, out) + (EXCHANGE_IDLE if is_exchange else IDLE)
        gone = alive[key][0].remote.address not in alive[key][0].mapping.remotes
        if gone:
            assert end <= now
            del alive[key], last[key]
        else:
            assert end > now - DNS_IDLE if only_dns else end > now
    assert not {flows[0].mapping.socket for flows in alive.values()} & set(ended)


def test_the_mapping_of_a_reply_is_found_by_both_endpoints() -> None:
    table = Table(10)
    mapping = begin(table).mapping
    assert table.replied_to(FAR, PORT, A, 4000) is mapping
    assert table.replied_to(FAR, 999, A, 4000) is mapping, "from another port of the host"
    for unknown in ((FARTHER, 7, A, 4000), (FAR, 7, B, 4000), (FAR, 7, A, 4001)):
        assert table.replied_to(*unknown) is None


def test_of_two_outbounds_the_one_of_a_reply_is_found_by_its_port_or_not_at_all() -> None:
    table = Table(10)
    home = begin(table, port=7, outbound="home").mapping
    office = begin(table, port=8, outbound="office").mapping
    assert table.replied_to(FAR, 7, A, 4000) is home
    assert table.replied_to(FAR, 8, A, 4000) is office
    assert table.replied_to(FAR, 9, A, 4000) is None


def test_what_is_unanswered_of_a_source_with_many_flows_ends_soon() -> None:
    """What a flood leaves behind; the answered flows of that source stay."""
    table = Table(1000)
    answered = begin(table, port=1)
    for port in range(2, FEW + 2):
        begin(table, destination=FARTHER, port=5000 + port)
    begin(table, source=B)
    answered.remote.last_in = 1.0
    answered.remote.last_out = 2.0
    table.expire(EXCHANGE_IDLE - 1)
    assert len(table) == FEW + 2
    table.expire(EXCHANGE_IDLE)
    assert (len(table), len(answered.remote.flows)) == (2, 1)
    table.expire(IDLE)
    assert len(table) == 1
