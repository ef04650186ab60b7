"""The table of TCP flows: its states, its limits and its times, with the time as an argument."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router.flows.tally import Tally
from router.flows.tcp.flow import (
    BOTH_FINS,
    ESTABLISHED,
    TIME_WAIT,
    TRANSITORY,
    Flow,
    State,
    mirrored,
)
from router.flows.tcp.table import ALIAS_PORTS, FlowTable
from tests.unit.examples import examples

PEER = bytes([192, 168, 7, 2])
SOURCE = bytes([10, 0, 0, 1])
TALLY = Tally("home", 1)
LISTENERS = [bytes([192, 168, 7, 1, 0x80, number]) for number in range(2)]


def table(limit: int = 100) -> FlowTable[str]:
    return FlowTable(limit, {4: PEER}, {4: LISTENERS})


def key(number: int) -> bytes:
    return bytes([10, 0, 0, 1, 198, 51, 100, 7]) + number.to_bytes(4, "big")


def begun(flows: FlowTable[str], number: int = 0, now: float = 0.0) -> Flow[str]:
    return flows.begin(key(number), b"request", 1000 + number, "home", TALLY, now)


def opened(flows: FlowTable[str], number: int = 0, now: float = 0.0) -> Flow[str]:
    flow = begun(flows, number, now)
    assert flows.connected(flow, now) is not None
    return flow


def relayed(flows: FlowTable[str], number: int = 0, now: float = 0.0) -> Flow[str]:
    flow = opened(flows, number, now)
    assert flows.accepted(flow.alias) is flow
    return flow


def test_a_flow_that_dials_has_no_rewrites() -> None:
    flows = table()
    flow = begun(flows)
    assert flow.state is State.DIALLING
    assert flows.rewrites == {}


def test_a_family_without_an_address_on_the_tun_has_no_aliases() -> None:
    flows = table()
    six = flows.begin(bytes(36), b"request", 1, "home", TALLY, 0.0)
    assert flows.connected(six, 0.0) is None


def test_both_directions_are_found_once_it_is_connected() -> None:
    flows = table()
    flow = opened(flows)
    inward, outward = flows.rewrites[flow.key], flows.rewrites[flow.answer_key]
    assert (inward.owner, inward.outward) == (flow, False)
    assert (outward.owner, outward.outward) == (flow, True)
    assert flow.alias[:4] == PEER
    assert flow.alias[4:8] + flow.alias[10:] in LISTENERS


def test_only_an_opening_flow_is_accepted_and_only_once() -> None:
    flows = table()
    flow = begun(flows)
    assert flows.accepted(key(0)) is None
    flows.connected(flow, 0.0)
    unknown = bytes([10, 9, 9, 9]) + flow.alias[4:]
    assert flows.accepted(unknown) is None
    assert flows.accepted(mirrored(flow.key)) is None
    assert flows.accepted(flow.alias) is flow
    assert flows.accepted(flow.alias) is None


def test_a_lingering_flow_makes_room_and_still_rewrites() -> None:
    flows = table(limit=1)
    flow = relayed(flows)
    assert not flows.has_room(SOURCE)
    flows.linger(flow, 1.0)
    assert flows.has_room(SOURCE)
    assert flow.key in flows.rewrites
    second = relayed(flows, 1)
    flows.linger(second, 2.0)
    assert flow.key not in flows.rewrites, "the oldest goes when too many linger"
    assert second.key in flows.rewrites


def test_a_new_flow_of_the_same_key_ends_the_former() -> None:
    flows = table()
    former = relayed(flows)
    flows.linger(former, 0.0)
    flow = begun(flows)
    assert former.answer_key not in flows.rewrites
    flows.end(former)
    assert flows.by_inside[key(0)] is flow


def test_an_ended_flow_stays_ended_and_keeps_the_aliases_of_others() -> None:
    """Its sockets may still be open when its alias is given to another flow."""
    flows = table()
    former = relayed(flows)
    flows.end(former)
    flow = relayed(flows)
    former.answer_key = flow.answer_key
    before = TALLY.flows
    flows.linger(former, 0.0)
    flows.end(former)
    assert (len(flows), TALLY.flows) == (1, before)
    assert set(flows.rewrites) == {flow.key, flow.answer_key}


@pytest.fixture
def few_ports(monkeypatch: pytest.MonkeyPatch) -> range:
    """For aliases."""
    ports = ALIAS_PORTS[:100]
    monkeypatch.setattr("router.flows.tcp.table.ALIAS_PORTS", ports)
    return ports


def test_aliases_are_allocated_in_turn_through_all_listeners(few_ports: range) -> None:
    flows = table(limit=10)
    seen = set()
    for number in range(3):
        flow = opened(flows, number)
        seen.add(flow.alias)
        flows.end(flow)
    assert len(seen) == 3
    for _ in few_ports:
        flow = opened(flows)
        flows.end(flow)
    assert flow.alias[-2:] == LISTENERS[1][-2:]


def test_no_alias_left(few_ports: range) -> None:
    flows = table(limit=1 << 20)
    count = len(few_ports) * len(LISTENERS)
    for number in range(count):
        opened(flows, number)
    assert flows.connected(begun(flows, count), 0.0) is None


def test_a_dial_is_given_up_when_the_application_retransmits_no_more() -> None:
    """Requests of Linux: after 1, 2, 3, 4, 5, then at doubling intervals; of RFC 6298: doubling."""
    for times in ([1, 2, 3, 4, 5, 7, 11, 19, 35, 67], [1, 3, 7, 15, 31, 63], [3, 9, 21, 45]):
        flows = table()
        flow = begun(flows)
        for time in times:
            assert list(flows.expired(time - 0.001)) == []
            flow.repeated(float(time))
        assert list(flows.expired(times[-1] + 1000.0)) == [flow]


def test_req_5_an_established_flow_is_never_ended_for_being_idle() -> None:
    flows = table(limit=1)
    flow = relayed(flows)
    assert list(flows.expired(ESTABLISHED - 1)) == []
    assert flows.idle_longest(ESTABLISHED - 1) is None
    assert list(flows.expired(ESTABLISHED)) == []
    assert flows.idle_longest(ESTABLISHED) is flow
    flow.last = ESTABLISHED
    assert flows.idle_longest(ESTABLISHED + 1) is None, "it has been used meanwhile"
    assert list(flows.expired(2 * ESTABLISHED)) == []
    assert flows.idle_longest(2 * ESTABLISHED) is flow


@pytest.mark.parametrize("seed", range(5))
def test_the_flow_that_is_idle_longest_against_a_scan(seed: int) -> None:
    random = Random(seed)
    flows = table()
    now = 0.0
    for number in range(60):
        relayed(flows, number, now)
        now += random.choice([0.0, 1.0, 200.0])
    for _ in range(400):
        now += random.choice([1.0, 30.0, 300.0])
        for flow in random.sample(flows.flows(), len(flows) // 10):
            flow.last = now
        assert list(flows.expired(now)) == []
        oldest = min(flows.flows(), key=lambda flow: flow.last, default=None)
        found = flows.idle_longest(now)
        if oldest is None or now - oldest.last < ESTABLISHED:
            assert found is None
        else:
            assert found is not None
            assert found.last == oldest.last
            if random.random() < 0.5:
                flows.linger(found, now) if random.random() < 0.5 else flows.end(found)


def test_req_5_transitory_flows_last_four_minutes() -> None:
    flows = table()
    opening, lingering = opened(flows, 1), relayed(flows, 2)
    flows.linger(lingering, 0.0)
    assert list(flows.expired(TRANSITORY - 1)) == []
    assert lingering.key in flows.rewrites
    assert list(flows.expired(TRANSITORY)) == [opening]
    assert lingering.key not in flows.rewrites


def test_a_closed_flow_lingers_as_long_as_time_wait() -> None:
    flows = table()
    flow = relayed(flows)
    flow.fins = BOTH_FINS
    flows.linger(flow, 10.0)
    assert list(flows.expired(10 + TIME_WAIT - 1)) == []
    assert flow.key in flows.rewrites
    assert list(flows.expired(10 + TIME_WAIT)) == []
    assert flow.key not in flows.rewrites


def test_a_fin_brings_the_end_of_a_flow_that_lingers_forward() -> None:
    flows = table()
    flow = relayed(flows)
    flow.fins = 1
    flows.linger(flow, 0.0)
    flow.fins, flow.last = BOTH_FINS, 50.0
    assert list(flows.expired(50 + TIME_WAIT - 1)) == []
    assert flow.key in flows.rewrites
    assert list(flows.expired(50 + TIME_WAIT)) == []
    assert flow.key not in flows.rewrites


def test_only_flows_that_do_not_linger_are_listed() -> None:
    flows = table()
    dialling, lingering = begun(flows, 1), relayed(flows, 2)
    flows.linger(lingering, 0.0)
    assert flows.flows() == [dialling]
    assert flows.outbounds() == {"home"}
    flows.end(dialling)
    assert (len(flows), flows.outbounds()) == (0, set())
    assert lingering.key in flows.rewrites


@settings(max_examples=examples(50))
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=60))
def test_the_tables_agree_after_random_operations(steps: list[tuple[int, int]]) -> None:
    flows = table(limit=4)
    known: dict[int, Flow[str]] = {}
    before = TALLY.flows
    for now, (number, step) in enumerate(steps):
        flow = known.get(number)
        if step == 0 and flows.has_room(SOURCE):
            if flow is None or flow.state is State.LINGERING:
                known[number] = begun(flows, number, now)
        elif flow is None:
            continue
        elif step == 1 and flow.state is State.DIALLING:
            flows.connected(flow, now)
        elif step == 2 and flow.state is State.OPENING:
            assert flows.accepted(flow.alias) is flow
        elif step == 3:
            if flow.state is State.RELAYED:
                flows.linger(flow, now)
            else:
                flows.end(known.pop(number))
        assert len(flows) == len(flows.flows()) == TALLY.flows - before <= 4
        expected = {
            name
            for flow in known.values()
            if flow.state is not State.DIALLING
            for name in (flow.key, flow.answer_key)
        }
        assert set(flows.rewrites) == expected
