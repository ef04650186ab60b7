"""Back-off of route restoration: none for occasional removals, long in a route conflict."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from router.config.loader import load
from router.engine.routes.backoff import CALM, FIRST, LONGEST, Backoff
from router.engine.routes.installed import InstalledRoutes
from router.platform.base.routes import ReconcileResult
from router.policy.match.table import RuleSet
from tests.unit.control.rounds import Rounds
from tests.unit.engine.world import MemoryTun


def test_occasional_removals_are_restored_at_once() -> None:
    backoff = Backoff()
    for now in (0.0, 1.0, 2.0, 10.0):
        assert backoff.delay(now) == 0
        backoff.restored(now)


def test_a_route_conflict_backs_off() -> None:
    """Another program removes the routes 10 ms after each restoration, for an hour."""
    backoff = Backoff()
    now, waits = 0.0, []
    while now < 3600:
        backoff.restored(now)
        now += 0.01
        waits.append(backoff.delay(now))
        now += waits[-1]
    assert waits[0] == 0
    assert waits[1] == pytest.approx(FIRST - 0.01)
    assert all(later >= earlier - 1e-6 for earlier, later in pairwise(waits))
    assert max(waits) <= LONGEST
    assert len(waits) < 3600 / LONGEST + 20


def test_the_delay_is_reset_when_the_conflict_is_over() -> None:
    backoff = Backoff()
    for now in (0.0, 0.01, 0.12, 0.34):
        backoff.restored(now)
    later = 0.34 + CALM * LONGEST
    backoff.restored(later)
    assert backoff.delay(later) == 0


class RouteConflict:
    """A system on which restored routes are removed again at once; see System."""

    def __init__(self) -> None:
        self.facts = self.routes = self
        self.restored = 0

    def endpoints(self) -> tuple[()]:
        return ()

    def request_endpoints(self, done: Callable[[tuple[()]], None]) -> None:
        done(())

    def begin_adding(self, routes: object) -> Callable[[], None]:
        return lambda: None

    def request_reconcile(self, routes: object, done: Callable[[ReconcileResult], None]) -> None:
        self.restored += 1
        done(ReconcileResult(["198.51.100.0/24"], [], []))


def test_a_router_backs_off_and_reconciles_again_without_a_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("version: 1\nrules:\n  - {cidr: 198.51.100.0/24, policy: reply}\n")
    config = load(file).config
    assert config is not None
    system, clock, tun = RouteConflict(), Rounds(), MemoryTun()
    installed = InstalledRoutes(
        *(config, RuleSet.build(config), cast(Any, system), tun, lambda _: None), list, clock
    )
    installed.begin_installing()()
    for _ in range(100):
        installed.reconcile()  # a change is reported, again and again
        clock.now += 0.01
    assert 3 <= system.restored <= 7
    first, *further = [record.getMessage() for record in caplog.records]
    assert first == "another program has removed what is ours; restored: 198.51.100.0/24"
    for number, message in enumerate(further):
        assert message == (
            "another program keeps removing what is ours; restored: 198.51.100.0/24; "
            f"not again for {FIRST * 2**number:g} s: end that program, or have it leave the "
            f"routes of {tun.name} alone (`ip monitor route` shows what it does)"
        )
    before = system.restored
    clock.wait(60)
    assert system.restored > before, "no change was reported in between"
