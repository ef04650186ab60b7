"""Events of the router as a whole, as its subscribers get them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import pytest

from router.engine.events import MOST_RECENT, Events
from router.engine.reload.compiled import Report
from router.engine.reload.outcome import Outcome
from tests.unit.engine.world import World

Event = Mapping[str, Any]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.12345)
    return []


def test_policies_that_go_down_and_up(world: World, seen: list[Event]) -> None:
    events = Events()
    events.subscribe(seen.append)
    events.policies(world.forwarder.config, world.outbounds, ["home", "careful"])
    up, down = seen
    assert up == {
        **{"time": 1_700_000_000.123, "event": "policy", "policy": "home", "state": "up"},
        **{"interface": "eth0", "why": None, "applies": "home"},
    }
    assert (down["state"], down["interface"], down["applies"]) == ("down", None, "drop")
    assert down["why"]


def test_reloads(seen: list[Event]) -> None:
    events = Events()
    events.subscribe(seen.append)
    events.reloaded(Outcome.refused(Report()))
    (event,) = seen
    assert (event["event"], event["reloaded"]) == ("reload", False)
    assert event["summary"].startswith("not reloaded")


def test_only_subscribers_are_told(seen: list[Event]) -> None:
    events = Events()
    events.subscribe(seen.append)
    events.unsubscribe(seen.append)
    events.reloaded(Outcome.refused(Report()))
    assert seen == []


def test_the_last_events_are_kept_for_those_who_follow_later(seen: list[Event]) -> None:
    events = Events()
    for number in range(MOST_RECENT + 5):
        events.conflict(f"number {number}")
    assert len(events.recent) == MOST_RECENT
    assert dict(events.recent[-1]) == {
        **{"time": 1_700_000_000.123, "event": "conflict", "what": f"number {MOST_RECENT + 4}"},
    }
