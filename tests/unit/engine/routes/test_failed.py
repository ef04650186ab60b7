"""What cannot be restored is logged once, tried again, and ends neither the run nor a reload."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from router.config.loader import load
from router.engine.routes.installed import RETRY, InstalledRoutes
from router.platform.base.errors import PlatformError
from router.platform.base.routes import ReconcileResult
from router.policy.match.table import RuleSet
from router.policy.network import Interface
from tests.unit.control.rounds import Rounds
from tests.unit.engine.world import MemoryTun


class FailingSystem:
    """A system that refuses the IPv6 address of the TUN; see System."""

    def __init__(self) -> None:
        self.interfaces = self.facts = self.routes = self
        self.answer: ReconcileResult | PlatformError = ReconcileResult(
            [], ["fd77::1/126 (Permission denied)"], []
        )
        self.present: dict[str, Interface] = {}
        self.attempts = 0

    def all(self) -> dict[str, Interface]:
        return self.present

    def endpoints(self) -> tuple[()]:
        return ()

    def request_endpoints(self, done: Callable[[tuple[()]], None]) -> None:
        done(())

    def begin_adding(self, routes: object) -> Callable[[], None]:
        return lambda: None

    def request_reconcile(
        self, routes: object, done: Callable[[ReconcileResult | PlatformError], None]
    ) -> None:
        self.attempts += 1
        done(self.answer)


@pytest.fixture
def clock() -> Rounds:
    return Rounds()


@pytest.fixture
def system() -> FailingSystem:
    return FailingSystem()


@pytest.fixture
def conflicts() -> list[str]:
    """What was reported as an event."""
    return []


@pytest.fixture
def installed(
    tmp_path: Path, system: FailingSystem, clock: Rounds, conflicts: list[str]
) -> InstalledRoutes:
    file = tmp_path / "rules.yaml"
    file.write_text("version: 1\nrules:\n  - {cidr: 198.51.100.0/24, policy: reply}\n")
    config = load(file).config
    assert config is not None
    tun = MemoryTun()
    system.present = {tun.name: Interface(tun.name, tun.index, True, tun.mtu)}
    made = InstalledRoutes(
        *(config, RuleSet.build(config), cast(Any, system), cast(Any, tun), lambda _: None),
        list,
        clock,
        conflicts.append,
    )
    made.begin_installing()()
    return made


def test_a_failure_is_logged_once_and_tried_again(
    installed: InstalledRoutes,
    system: FailingSystem,
    clock: Rounds,
    caplog: pytest.LogCaptureFixture,
    conflicts: list[str],
) -> None:
    caplog.set_level(logging.INFO)
    installed.reconcile()
    clock.wait(5 * RETRY)
    assert system.attempts >= 4
    assert caplog.text.count("fd77::1/126 (Permission denied)") == 1
    system.answer = ReconcileResult(["fd77::1/126"], [], [])
    clock.wait(2 * RETRY)
    assert "restored: fd77::1/126" in caplog.text
    assert "is restored" in caplog.text
    assert [each.rpartition(": ")[2] for each in conflicts] == [
        *("fd77::1/126 (Permission denied)", "fd77::1/126")
    ]
    attempts = system.attempts
    clock.wait(5 * RETRY)
    assert system.attempts == attempts, "nothing is left to restore"


def test_routes_that_are_refused_do_not_end_the_run(
    installed: InstalledRoutes,
    system: FailingSystem,
    clock: Rounds,
    caplog: pytest.LogCaptureFixture,
) -> None:
    system.answer = PlatformError("the route to 198.51.100.0/24 was refused")
    installed.reconcile()
    clock.wait(1)
    assert "was refused" in caplog.text


def test_a_missing_tun_ends_the_run(
    installed: InstalledRoutes, system: FailingSystem, clock: Rounds
) -> None:
    """If it was moved to another namespace, a read from it would never return."""
    system.answer = PlatformError("tun11 is gone")
    system.present.clear()
    installed.reconcile()
    with pytest.raises(PlatformError, match=r"is gone: .* start the router again"):
        clock.wait(1)
