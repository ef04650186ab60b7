"""What a run has installed: the TUN's addresses and routes, planned anew when the ways out change,
and put back when somebody else removes them.

Always true: routes are added before others are removed, so that no packet falls between them; the
rules are planned anew only when something that routes depend on has changed.

Must not know: packets, flows, how routes are installed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

from router.config.model import Config
from router.engine.reload.compiled import Compiled, Dependencies, dependencies
from router.engine.routes.backoff import Backoff
from router.platform.base.errors import PlatformError
from router.platform.base.routes import ReconcileResult
from router.platform.base.system import System
from router.platform.base.tun import TunDevice
from router.policy.exempt import InterfacesOf
from router.policy.findings.loops import exemption
from router.policy.network import Endpoint
from router.policy.plan import Plan, make_plan
from router.policy.table import RuleSet

log = logging.getLogger(__name__)

SHOWN: Final = 3
"""Of the things that were put back, those that are named."""
RETRY: Final = 10
"""Seconds until what cannot be put back is tried again."""


class RollbackFailedError(PlatformError):
    """What has been changed in part can be neither completed nor undone."""


class RouteChanges(NamedTuple):
    """How many routes were added and removed."""

    added: int = 0
    removed: int = 0


class Clock(Protocol):
    """The part of the event loop that is needed here; see router.engine.loop."""

    now: float

    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...


class InstalledRoutes:
    """`way_of` gives the interfaces of a policy at present."""

    def __init__(
        self,
        config: Config,
        rules: RuleSet,
        system: System,
        tun: TunDevice,
        interfaces_of: InterfacesOf,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._backoff = Backoff()
        self._looks_later = False
        self._failed: list[str] = []
        self._config = config
        self._rules = rules
        self._system = system
        self._tun = tun
        self._interfaces_of = interfaces_of

    @property
    def route_count(self) -> int:
        return len(self._plan.routes)

    def install(self) -> Plan:
        """Add the routes for the first time. Raises PlatformError that names the one refused."""
        endpoints = self._system.facts.endpoints()
        self._depends_on = self._dependencies(endpoints)
        self._plan = make_plan(self._config, self._rules, self._interfaces_of, endpoints)
        self._report(self._plan.exempt)
        self._system.routes.add_routes(self._plan.routes)
        return self._plan

    def keep(self) -> None:
        """After a change: plan anew if that is needed, and have put back what is missing, without
        waiting for it: a tunnel may take its time to say where it leads, and to compare thousands
        of routes takes its own. What somebody takes away again and again is put back ever more
        seldom. Raises PlatformError."""
        self._system.facts.request_endpoints(self._keep)

    def _keep(self, endpoints: Sequence[Endpoint] | PlatformError) -> None:
        if isinstance(endpoints, PlatformError):
            log.warning("%s", endpoints)
            return
        depends_on = self._dependencies(endpoints)
        planned_anew = depends_on != self._depends_on
        if planned_anew:
            known = self._plan.exempt
            self._depends_on = depends_on
            self._plan = make_plan(self._config, self._rules, self._interfaces_of, endpoints)
            self._report([each for each in self._plan.exempt if each not in known])
        delay = self._backoff.delay(self._clock.now)
        if planned_anew or not delay:
            told = partial(self._kept, planned_anew=planned_anew)
            self._system.routes.request_reconcile(self._plan.routes, told)
        else:
            self._look_in(delay)

    def _look_in(self, delay: float) -> None:
        if not self._looks_later:
            self._looks_later = True
            self._clock.call_later(delay, self._look_later)

    def _look_later(self) -> None:
        self._looks_later = False
        try:
            self.keep()
        except PlatformError as error:
            log.warning("%s", error)

    def _kept(self, kept: ReconcileResult | PlatformError, *, planned_anew: bool) -> None:
        if isinstance(kept, PlatformError):
            log.warning("%s", kept)
            self._demand_tun()
            return
        if kept.restored and planned_anew:
            log.info("routes planned anew: %d by %s", len(self._plan.routes), self._tun.name)
        elif kept.restored:
            self._backoff.restored(self._clock.now)
            self._tell_of(kept.restored)
        self._report_lacking(kept.failed)

    def _tell_of(self, missing: list[str]) -> None:
        """What was put back, and that it takes two to quarrel."""
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        what = ", ".join(missing[:SHOWN]) + more
        if self._backoff.wait:
            log.warning(
                "another program keeps removing what is ours; put back: %s; not again for %g s: "
                "end that program, or have it leave the routes of %s alone "
                "(`ip monitor route` shows what it does)",
                *(what, self._backoff.wait, self._tun.name),
            )
        else:
            log.warning("another program has removed what is ours; put back: %s", what)

    def _report_lacking(self, failed: list[str]) -> None:
        """Once; it is tried again as long as it lasts."""
        if failed and failed != self._failed:
            log.warning(
                "another program has changed what is ours, and it cannot be put back: %s. Packets "
                "that need it pass the router by until then: end what keeps %s from being put "
                "right; it is tried again every %d s",
                "; ".join(failed),
                self._tun.name,
                RETRY,
            )
        elif self._failed and not failed:
            log.info("everything of %s is as it should be again", self._tun.name)
        self._failed = failed
        if failed:
            self._look_in(RETRY)

    def _demand_tun(self) -> None:
        """End the run, from a timer, if the TUN is gone; to read from one that was moved to another
        network namespace would never say so."""
        present = self._system.interfaces.all().values()
        if not any(interface.index == self._tun.index for interface in present):
            self._clock.call_later(0.0, self._end)

    def _end(self) -> None:
        raise PlatformError(
            f"{self._tun.name} is gone: another program has deleted it or moved it to another "
            "network namespace; start the router again"
        )

    def change(self, compiled: Compiled) -> RouteChanges:
        """Go over to other rules. Raises PlatformError when that is refused, and everything is as
        it was, or NotPutBackError."""
        endpoints = self._system.facts.endpoints()  # and whatever was to be kept until now
        former = self._config, self._rules, self._depends_on, self._plan
        self._config, self._rules = compiled.config, compiled.rules
        self._depends_on = self._dependencies(endpoints)
        self._plan = compiled.plan
        if self._depends_on != compiled.depends_on:
            self._plan = make_plan(self._config, self._rules, self._interfaces_of, endpoints)
        before, after = set(former[-1].routes), set(self._plan.routes)
        try:
            if before != after:
                self._report_lacking(self._system.routes.reconcile(self._plan.routes).failed)
        except PlatformError as refusal:
            self._config, self._rules, self._depends_on, self._plan = former
            self._roll_back(refusal)
            raise
        self._report([each for each in self._plan.exempt if each not in former[-1].exempt])
        return RouteChanges(len(after - before), len(before - after))

    def _roll_back(self, refusal: PlatformError) -> None:
        try:
            self._system.routes.reconcile(self._plan.routes)
        except PlatformError as error:
            raise RollbackFailedError(
                f"other rules could not be applied ({refusal}), and the former routes could not be "
                f"put back ({error}): stopping, and cleaning up now; start the router again"
            ) from error

    def _dependencies(self, endpoints: Sequence[Endpoint]) -> Dependencies:
        return dependencies(self._config, self._rules, self._interfaces_of, endpoints)

    @staticmethod
    def _report(exempt: Sequence[Endpoint]) -> None:
        for endpoint in exempt:
            log.info("%s", exemption(endpoint))
