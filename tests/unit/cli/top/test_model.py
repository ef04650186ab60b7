"""Rates, histories, round trips and losses, from one snapshot to the next."""

from __future__ import annotations

import pytest

from router.cli.top.loss import WINDOW, Loss
from router.cli.top.model import Model, Rates, Snapshot, flow_key
from tests.unit.cli.top.cases import Answer, flow, policy, rule, status, views


def test_rates_are_differences_by_the_time_between() -> None:
    first, second, third = views(
        (status(10.0, {"home": policy(out=1000, in_=500)}), [flow(1, out=1000)]),
        (status(12.0, {"home": policy(out=3000, in_=500)}), [flow(1, out=3000), flow(2, out=40)]),
        (status(12.5, {"home": policy(out=3100, in_=None)}), [flow(1, out=10)]),
    )
    assert first.policies[0].rates == first.flows[0].rates == Rates(None, None)
    assert first.policies[0].history == ()
    assert second.policies[0].rates == Rates(1000.0, 0.0)
    assert [row.rates.out for row in second.flows] == [1000.0, 20.0]
    assert third.policies[0].rates == Rates(200.0, None)
    assert third.policies[0].history == (Rates(1000.0, 0.0), Rates(200.0, None))
    assert third.flows[0].rates.out == 20.0, "another flow with the same ends has begun"


def test_a_direct_flow_without_numbers_has_no_rates() -> None:
    unknown = flow(1, "udp", out=None, bytes_in=None, path="direct")
    _, second = views((status(1, {}), [unknown]), (status(2, {}), [unknown]))
    assert second.flows[0].rates == Rates(None, None)


def test_rules_keep_their_rates_when_a_reload_moves_them() -> None:
    same = '{cidr: "203.0.113.1", policy: home}'
    _, second = views(
        (status(0, {}, [rule(1, 10, same), rule(2, 50, same), rule(3, 7)]), []),
        (status(2, {}, [rule(1, 0), rule(2, 14, same), rule(3, 50, same), rule(4)]), []),
    )
    assert [(row.number, row.packets, row.per_second) for row in second.rules] == [
        (2, 14, 2.0),
        (3, 50, 0.0),
    ]


def test_the_default_is_listed_where_it_was_used() -> None:
    used = {"line": 30, "policy": "bypass", "flows": 0, "packets": 4}
    (view,) = views((status(0, {}, [rule(1)], default=used), []))
    assert [(row.number, row.policy) for row in view.rules] == [(0, "bypass")]


def test_drops_by_their_rates() -> None:
    _, view = views(
        (status(0, {}, drops={"drop": 100}), []),
        (status(2, {}, drops={"drop": 100, "hop-limit": 4}), []),
    )
    assert [(row.reason, row.per_second) for row in view.drops] == [("hop-limit", 2), ("drop", 0)]


@pytest.mark.parametrize("other", [{"pid": 4712}, {}])
def test_another_router_begins_anew(other: Answer) -> None:
    *_, last = views(
        (status(90, {"home": policy(out=1000)}), [flow(1)]),
        (status(91, {"home": policy(out=9000)}), [flow(1)]),
        (status(3, {"home": policy(out=500)}, **other), [flow(1)]),
    )
    assert last.policies[0].rates == Rates(None, None)
    assert last.policies[0].history == ()
    assert last.former_pid == 4711


def test_the_round_trip_of_a_policy_is_the_median_of_its_live_flows() -> None:
    live = [flow(1, rtt_ms=5, idle_s=0), flow(2, rtt_ms=7, idle_s=9)]
    flows = [*live, flow(3, rtt_ms=99, idle_s=60)]
    (view,) = views((status(1, {"home": policy(), "office": policy()}), [*flows, flow(4)]))
    assert [row.round_trip for row in view.policies] == [6, None]
    assert [row.flows for row in view.policies] == [4, 0]


def test_what_another_version_answers_is_an_error() -> None:
    with pytest.raises(LookupError):
        Model().take(Snapshot(0.0, {"pid": 1}, [], []))


def loss_after(*snapshots: list[Answer], seconds: float = 1.0) -> float | None:
    loss = Loss()
    for number, flows in enumerate(snapshots):
        loss.take(number * seconds, {flow_key(each): each for each in flows})
    return loss.of("home")


def pings(out: int, in_: int) -> list[Answer]:
    return [flow(1, "icmp", out, packets_in=in_)]


def segments(out: int, again: int) -> list[Answer]:
    return [flow(2, segments_out=out, segments_resent=again)]


def test_queries_without_an_answer() -> None:
    assert loss_after([], pings(4, 3), pings(8, 6), pings(12, 9)) == 2 / 8
    assert loss_after([], pings(1, 0), pings(1, 1)) == 0, "the answer was under way"
    assert loss_after([], pings(1, 0), pings(2, 0), pings(3, 0)) == 1
    assert loss_after([], pings(2, 4), pings(2, 4)) == 0, "answered twice"
    assert loss_after(pings(100, 50)) is None, "before the first snapshot"
    assert loss_after(pings(100, 50), pings(110, 60), pings(120, 70)) == 0
    assert loss_after([], [flow(3, "udp", 5)], [flow(3, "udp", 9)]) is None


def test_segments_that_were_sent_again() -> None:
    assert loss_after([], segments(10, 1), segments(20, 2)) == 2 / 20
    assert loss_after(segments(1000, 900), segments(1010, 901)) == 1 / 10
    assert loss_after([], segments(0, 3)) == 1, "nobody answers the request"
    assert loss_after([], segments(100, 0), [*segments(110, 5), *pings(10, 0)]) == 5 / 110


def test_losses_are_forgotten() -> None:
    lost, none = segments(10, 10), segments(10, 10)
    assert loss_after([], lost, none, seconds=WINDOW / 2) == 1
    assert loss_after([], lost, none, none, none, seconds=WINDOW / 2) is None
