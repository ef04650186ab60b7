"""A route of another program that ours have nothing to do with costs no comparison of routes."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast

import pytest

from router.config.loader import load
from router.engine.routes.installed import InstalledRoutes
from router.platform.base.facts import ForeignRoute
from router.platform.base.routes import ReconcileResult
from router.policy.match.table import RuleSet
from tests.unit.control.rounds import Rounds
from tests.unit.engine.world import MemoryTun

Done = Callable[[ReconcileResult], None]


class Comparisons:
    """A system that compares routes when `finish` is called; see System."""

    def __init__(self) -> None:
        self.facts = self.routes = self
        self.waiting: list[Done] = []
        self.requested = 0

    def endpoints(self) -> tuple[()]:
        return ()

    def request_endpoints(self, done: Callable[[tuple[()]], None]) -> None:
        done(())

    def begin_adding(self, routes: object) -> Callable[[], None]:
        return lambda: None

    def request_reconcile(self, routes: object, done: Done) -> None:
        self.requested += 1
        self.waiting.append(done)

    def finish(self) -> None:
        self.waiting.pop(0)(ReconcileResult([], [], []))


@pytest.fixture
def system() -> Comparisons:
    return Comparisons()


@pytest.fixture
def installed(system: Comparisons, tmp_path: Path) -> InstalledRoutes:
    file = tmp_path / "rules.yaml"
    file.write_text(
        "version: 1\nrules:\n  - {cidr: [198.51.100.0/24, 203.0.113.0/24], policy: reply}\n"
    )
    config = load(file).config
    assert config is not None
    installed = InstalledRoutes(
        *(config, RuleSet.build(config), cast(Any, system), MemoryTun(), lambda _: None),
        list,
        Rounds(),
    )
    installed.begin_installing()()
    return installed


def foreign(prefix: str, interface: int = 2) -> ForeignRoute:
    network = ip_network(prefix)
    return ForeignRoute(network.version, int(network.network_address), network.prefixlen, interface)


@pytest.mark.parametrize(
    ("route", "beside"),
    [
        (foreign("198.51.100.0/24"), True),
        (foreign("203.0.113.0/24"), True),
        (foreign("198.51.100.0/25"), False),
        (foreign("198.51.0.0/16"), False),
        (foreign("255.255.255.255/32"), False),
        (foreign("2001:db8::/32"), False),
        (foreign("2001:db8::/32", interface=MemoryTun.index), True),
    ],
)
def test_what_concerns_our_routes(
    installed: InstalledRoutes, route: ForeignRoute, beside: bool
) -> None:
    assert installed.is_beside(route) is beside


@pytest.mark.parametrize(
    ("prefix", "concerned"),
    [
        *(("198.51.100.0/24", True), ("198.51.100.7/32", True), ("198.51.100.128/25", True)),
        *(("198.51.0.0/16", True), ("0.0.0.0/0", True), ("192.0.0.0/4", True)),
        *(("198.51.101.0/24", False), ("198.51.99.255/32", False), ("10.0.0.0/8", False)),
        *(("::/0", False), ("2001:db8::/32", False)),
    ],
)
def test_sources_are_asked_again_where_destinations_of_ours_are_concerned(
    installed: InstalledRoutes, prefix: str, concerned: bool
) -> None:
    assert installed.may_have_source_of(foreign(prefix)) is concerned


def test_nothing_is_compared_where_nothing_of_ours_is_concerned(
    installed: InstalledRoutes, system: Comparisons
) -> None:
    installed.reconcile(compares=False)
    assert system.requested == 0
    installed.reconcile()
    assert system.requested == 1


def test_comparisons_do_not_queue(installed: InstalledRoutes, system: Comparisons) -> None:
    for compares in (True, True, False, True, False):
        installed.reconcile(compares=compares)
    assert system.requested == 1
    system.finish()
    assert system.requested == 2, "one more for all that was reported meanwhile"
    system.finish()
    assert system.requested == 2
    installed.reconcile(compares=False)
    assert system.requested == 2
