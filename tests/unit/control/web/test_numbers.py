"""What the web process keeps and computes: history, events, metrics, shared answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from router.control.client import NoAnswerError
from router.control.web import answers, event_log, history
from router.control.web.answers import SHARE, Answers, Latest
from router.control.web.event_log import EventLog
from router.control.web.history import INTERVAL, MOST_POLICIES, SAMPLES, History
from router.control.web.metrics import MOST_RULES, exposition
from router.flows.drops import Drop
from tests.web.sample import SampleAnswers


def totals(pid: int, **policies: tuple[int, int | None]) -> dict[str, Any]:
    return {
        "pid": pid,
        "policies": {
            name: {"bytes_out": out, "bytes_in": in_} for name, (out, in_) in policies.items()
        },
    }


# History


def test_rates_are_differences_by_time() -> None:
    kept = History()
    kept.add(100.0, totals(1, home=(1000, 5000)))
    kept.add(110.0, totals(1, home=(2000, 5000)))
    kept.add(120.0, totals(1, home=(2000, 9000)))
    found = kept.as_json()
    assert found["times"] == [100, 110, 120]
    assert found["policies"] == {"home": {"out": [None, 100.0, 0.0], "in": [None, 0.0, 400.0]}}


@pytest.mark.parametrize(
    "between",
    [None, totals(2, home=(0, 0)), totals(1), totals(1, home=(5, None))],
    ids=["no-router", "another-router", "no-policy", "not-known"],
)
def test_what_is_not_known_is_a_gap(between: dict[str, Any] | None) -> None:
    kept = History()
    kept.add(0.0, totals(1, home=(1000, 1000)))
    kept.add(10.0, between)
    kept.add(20.0, totals(1, home=(9000, 9000)))
    assert kept.as_json()["policies"].get("home", {"in": [None] * 3})["in"] == [None] * 3


def test_the_history_has_a_bound() -> None:
    kept = History()
    for place in range(2 * SAMPLES):
        status = totals(1, **{f"p{n}": (n * place, 0) for n in range(2 * MOST_POLICIES)})
        kept.add(place * INTERVAL, status)
    found = kept.as_json()
    assert len(found["times"]) == SAMPLES
    assert SAMPLES * INTERVAL == 3600
    assert len(found["policies"]) == MOST_POLICIES
    assert f"p{2 * MOST_POLICIES - 1}" in found["policies"], "the busiest"


# Events


def test_events_beyond_the_bound_are_forgotten_and_numbers_go_on() -> None:
    log = EventLog()
    for number in range(event_log.MOST + 10):
        log.add({"event": "policy", "number": number})
    kept = log.after(0)
    assert len(kept) == event_log.MOST
    assert (kept[0]["id"], kept[-1]["id"]) == (11, event_log.MOST + 10)
    assert [event["id"] for event in log.after(log.last - 2)] == [log.last - 1, log.last]
    assert log.after(log.last) == log.after(log.last + 100) == []


class Runs:
    """A router that is started several times: each run has events, and ends."""

    def __init__(self, *runs: list[dict[str, Any]] | None) -> None:
        self._runs = iter(runs)

    async def events(self, reached: Callable[[], None]) -> AsyncIterator[dict[str, Any]]:
        run = next(self._runs, None)
        if run is None:
            raise NoAnswerError("no router is running here")
        reached()
        for event in run:
            yield event


def test_a_router_that_goes_and_comes_is_an_event_and_nothing_is_repeated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(event_log, "RETRY", 0.0)
    first, second = {"event": "reload", "time": 5.0}, {"event": "reload", "time": 6.0}
    runs = Runs([first], None, None, [first, second], [])
    log = EventLog(clock=lambda: 7.0)

    async def follow() -> None:
        task = asyncio.create_task(log.follow(runs))
        while log.last < 7:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(follow())
    found = [(event["event"], event.get("state")) for event in log.after(0)]
    assert found[:7] == [
        ("reload", None),
        ("router", "gone"),
        ("router", "running"),
        ("reload", None),
        ("router", "gone"),
        ("router", "running"),
        ("router", "gone"),
    ]


# Events of the router


def events_of(
    monkeypatch: pytest.MonkeyPatch, received: bytes, wanted: int
) -> tuple[list[dict[str, Any]], int]:
    """What was read of a router that has sent this and goes on, and how often it was reached."""
    monkeypatch.setattr(answers, "SILENT", 0.01)
    ours, theirs = socket.socketpair()
    reached: list[bool] = []

    class One:
        async def open(self, request: Mapping[str, Any]) -> socket.socket:
            ours.setblocking(False)
            return ours

    async def follow() -> list[dict[str, Any]]:
        found = []
        async with asyncio.timeout(10):
            async for event in Answers(One()).events(lambda: reached.append(True)):
                found.append(event)
                if len(found) == wanted:
                    break
        return found

    async def until_reached() -> list[dict[str, Any]]:
        task = asyncio.create_task(follow())
        while not (reached and len(reached) >= wanted) and not task.done():
            await asyncio.sleep(0.001)
        theirs.close()
        return await task

    with theirs:
        theirs.sendall(received)
        return asyncio.run(until_reached()), len(reached)


def test_a_router_without_events_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    assert events_of(monkeypatch, b"", 0) == ([], 1)
    sent = b'{"event": "reload"}\n{"event": "reload"}\n'
    assert events_of(monkeypatch, sent, 2)[0] == [{"event": "reload"}] * 2


def test_one_that_refuses_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoAnswerError, match="no more followers"):
        events_of(monkeypatch, b'{"error": "no more followers"}\n', 1)


# Metrics


def metrics_of(status: dict[str, Any]) -> dict[str, Any]:
    text = exposition(status, "9.9").decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def sample_status() -> dict[str, Any]:
    return asyncio.run(SampleAnswers().status())


def test_the_metrics_are_those_of_the_status() -> None:
    status = sample_status()
    found = metrics_of(status)
    assert {name: family.type for name, family in found.items()} == {
        "tunrouter_packets": "counter",
        "tunrouter_bytes": "counter",
        "tunrouter_rule_packets": "counter",
        "tunrouter_drops": "counter",
        "tunrouter_flows": "gauge",
        "tunrouter_policy_up": "gauge",
        "tunrouter_uptime_seconds": "gauge",
        "tunrouter_build_info": "gauge",
    }
    for name, policy in status["policies"].items():
        for what in ("packets", "bytes"):
            for direction in ("out", "in"):
                labels = {"policy": name, "direction": direction}
                assert (
                    value(found, f"tunrouter_{what}_total", labels) == policy[f"{what}_{direction}"]
                )
        assert value(found, "tunrouter_policy_up", {"policy": name}) == (policy["state"] == "up")
    for rule in status["rules"]:
        labels = {"rule": str(rule["index"]), "policy": rule["policy"]}
        assert value(found, "tunrouter_rule_packets_total", labels) == rule["packets"]
    reasons = {sample.labels["reason"]: sample.value for sample in found["tunrouter_drops"].samples}
    assert reasons == {**dict.fromkeys((each.value for each in Drop), 0), **status["drops"]}
    assert value(found, "tunrouter_build_info", {"version": "9.9"}) == 1


def value(found: dict[str, Any], name: str, labels: dict[str, str]) -> float:
    family = found[name.removesuffix("_total")]
    (only,) = (each for each in family.samples if (each.name, each.labels) == (name, labels))
    result: float = only.value
    return result


def test_what_is_not_known_has_no_sample() -> None:
    status = sample_status()
    status["policies"]["home"]["packets_in"] = None
    packets = metrics_of(status)["tunrouter_packets"].samples
    assert [each.labels["direction"] for each in packets if each.labels["policy"] == "home"] == [
        "out"
    ]


def test_of_many_rules_those_that_have_matched_are_listed() -> None:
    status = sample_status()
    rule = status["rules"][0]
    status["rules"] = [
        {**rule, "index": index, "packets": index % 2} for index in range(1, 4 * MOST_RULES)
    ]
    samples = metrics_of(status)["tunrouter_rule_packets"].samples
    assert len(samples) == MOST_RULES + 1
    assert all(each.value for each in samples if each.labels["rule"] != "default")


def test_a_name_with_quotes_and_line_breaks_is_escaped() -> None:
    status = sample_status()
    status["policies"] = {'a"\\\nb': status["policies"]["home"]}
    assert metrics_of(status)["tunrouter_packets"].samples[0].labels["policy"] == 'a"\\\nb'


# Shared answers


class Router:
    """Counts how often it is asked; each answer takes a round of the loop and `cost` seconds."""

    def __init__(self, cost: float = 0.0) -> None:
        self.asked = 0
        self.now = 100.0
        self.fails = False
        self._cost = cost

    def clock(self) -> float:
        return self.now

    async def fetch(self) -> dict[str, Any]:
        self.asked += 1
        number = self.asked
        await asyncio.sleep(0)
        self.now += self._cost
        if self.fails:
            raise NoAnswerError("gone")
        return {"number": number}


def test_many_who_ask_at_a_time_share_an_answer() -> None:
    async def ask() -> None:
        router = Router()
        latest = Latest(router.fetch, router.clock)
        found = await asyncio.gather(*(latest.get(0.0) for _ in range(1000)))
        assert {each["number"] for each in found} == {1}
        router.now += 0.3
        assert (await latest.get(0.4))["number"] == 1
        assert (await latest.get(0.0))["number"] == 2

    asyncio.run(ask())


def test_an_answer_that_was_begun_before_is_not_fresh() -> None:
    async def ask() -> None:
        router = Router(cost=0.01)
        latest = Latest(router.fetch, router.clock)
        first = asyncio.create_task(latest.get(0.0))
        while not router.asked:
            await asyncio.sleep(0)
        router.now += 0.001
        assert (await latest.get(0.0))["number"] == 2
        assert (await first)["number"] == 1

    asyncio.run(ask())


def test_the_router_is_asked_for_a_share_of_its_time_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waited: list[float] = []
    router = Router(cost=0.5)
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        waited.append(seconds)
        router.now += seconds
        await sleep(0)

    async def ask() -> None:
        latest = Latest(router.fetch, router.clock)
        await latest.get(0.0)
        monkeypatch.setattr(asyncio, "sleep", noted)
        await latest.get(0.0)

    asyncio.run(ask())
    assert max(waited) == pytest.approx(0.5 * (1 / SHARE - 1))


def test_a_failure_is_everybodys_and_forgotten() -> None:
    async def ask() -> None:
        router = Router()
        router.fails = True
        latest = Latest(router.fetch, router.clock)
        found = await asyncio.gather(*(latest.get(0.0) for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in found] == [NoAnswerError] * 3
        router.fails = False
        router.now += 1
        assert (await latest.get(0.0))["number"] == 2

    asyncio.run(ask())


def test_the_history_is_sampled_also_while_there_is_no_router(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(history, "INTERVAL", 0.0)
    monkeypatch.setattr(history, "FIRST", 0.0)
    times = iter(range(1000))

    class Sometimes:
        async def status(self) -> dict[str, Any]:
            if len(kept.as_json()["times"]) == 1:
                raise NoAnswerError("gone")
            return totals(1, home=(0, 0))

    kept = History()

    async def sample() -> None:
        task = asyncio.create_task(kept.sample(Sometimes(), lambda: float(next(times))))
        while len(kept.as_json()["times"]) < 4:
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(sample())
    assert kept.as_json()["policies"]["home"]["out"][3] == 0.0
