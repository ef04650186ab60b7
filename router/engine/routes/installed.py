"""What a run has installed: the TUN's addresses and routes, planned again when outbounds change,
and restored when another program removes them.

Always true: routes are added before others are removed, so that every packet finds one; routes are
planned again only when something that they depend on has changed.

Must not know: packets, flows, how routes are installed.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

from router.config.model import Config
from router.engine.reload.compiled import Compiled, Dependencies, dependencies
from router.engine.routes.backoff import Backoff
from router.platform.base.errors import PlatformError
from router.platform.base.facts import ForeignRoute
from router.platform.base.routes import ReconcileResult
from router.platform.base.system import System
from router.platform.base.tun import TunDevice
from router.platform.reason import reason
from router.policy.findings.loops import exemption, exemption_of_proxy
from router.policy.interfaces import FactsOf
from router.policy.match.table import RuleSet
from router.policy.network import Endpoint, ProxyServer
from router.policy.prefixes import HOST_MASKS
from router.policy.routes.plan import Plan, make_plan

log = logging.getLogger(__name__)

SHOWN: Final = 3
"""Of the things that were restored, those that are named in the log."""
RETRY: Final = 10
"""Seconds until what could not be restored is tried again."""


class RollbackFailedError(PlatformError):
    """A change that was made in part can be neither completed nor undone."""


class RouteChanges(NamedTuple):
    """How many routes were added and removed."""

    added: int = 0
    removed: int = 0


class Clock(Protocol):
    """The part of the event loop that is needed here; see router.engine.loop."""

    now: float

    def call_later(self, delay: float, callback: Callable[[], None]) -> None: ...


class InstalledRoutes:
    """`facts_of` gives what routes depend on of a policy at present, `servers` the addresses of the
    proxies that the system's own routes lead to. conflict: called with one sentence when another
    program has changed what is ours."""

    def __init__(
        self,
        config: Config,
        rules: RuleSet,
        system: System,
        tun: TunDevice,
        facts_of: FactsOf,
        servers: Callable[[], Sequence[ProxyServer]],
        clock: Clock,
        conflict: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._conflict = conflict
        self._clock = clock
        self._backoff = Backoff()
        self._retry_is_due = False
        self._is_under_way = self._is_wanted_again = self._compares = False
        self._failed: list[str] = []
        self._config = config
        self._rules = rules
        self._system = system
        self._tun = tun
        self._facts_of = facts_of
        self._servers = servers

    @property
    def route_count(self) -> int:
        return len(self._plan.routes)

    def begin_installing(self) -> Callable[[], None]:
        """Add the routes for the first time; what is returned waits until they are there. Both
        raise PlatformError, the second one that names the route refused."""
        endpoints = self._system.facts.endpoints()
        self._depends_on = self._dependencies(endpoints)
        self._plan = self._make_plan(endpoints)
        self._report()
        return self._system.routes.begin_adding(self._plan.routes)

    def is_beside(self, route: ForeignRoute) -> bool:
        """Whether a route of another program may stand before one of ours, or in its place, or
        is by our own interface."""
        if route.interface == self._tun.index:
            return True
        return self._has(*route[:3])

    def may_have_source_of(self, route: ForeignRoute) -> bool:
        """Whether destinations of a route of another program are among ours, so that the source of
        packets to them may be another with it."""
        version, first, length, _ = route
        routes, last = self._plan.routes, first | HOST_MASKS[version][length]
        position = bisect_left(routes, (version, first))
        if position < len(routes) and (version, first) <= routes[position][:2] <= (version, last):
            return True
        masks = HOST_MASKS[version]
        return any(self._has(version, first & ~masks[wider], wider) for wider in range(length))

    def _has(self, version: int, first: int, length: int) -> bool:
        routes, prefix = self._plan.routes, (version, first, length)
        position = bisect_left(routes, prefix)
        return position < len(routes) and routes[position][:3] == prefix

    def reconcile(self, *, compares: bool = True) -> None:
        """After a change: plan again if that is needed, and have restored what is missing.

        compares: whether the system's routes are to be compared with ours though nothing is planned
        again. Of what is called while another reconciliation is under way one follows it.

        It does not wait: a tunnel may take a second to report its endpoint, and to compare
        thousands of routes takes time as well. What another program removes again and again is
        restored with a growing back-off. Raises PlatformError.
        """
        self._compares |= compares
        if self._is_under_way:
            self._is_wanted_again = True
            return
        self._is_under_way = True
        try:
            self._system.facts.request_endpoints(self._reconcile)
        except PlatformError:
            self._is_under_way = False
            raise

    def _reconcile(self, endpoints: Sequence[Endpoint] | PlatformError) -> None:
        if isinstance(endpoints, PlatformError):
            log.warning("the routes are not renewed: %s", endpoints)
            self._finish()
            return
        compares, self._compares = self._compares, False
        depends_on = self._dependencies(endpoints)
        planned_again = depends_on != self._depends_on
        if planned_again:
            known = self._plan
            self._depends_on = depends_on
            self._plan = self._make_plan(endpoints)
            self._report(known)
        delay = self._backoff.delay(self._clock.now)
        if planned_again or (compares and not delay):
            done = partial(self._reconciled, planned_again=planned_again)
            self._system.routes.request_reconcile(self._plan.routes, done)
            return
        if compares:
            self._retry_in(delay)
        self._finish()

    def _finish(self) -> None:
        self._is_under_way = False
        if self._is_wanted_again:
            self._is_wanted_again = False
            self._reconcile_again(compares=self._compares)

    def _retry_in(self, delay: float) -> None:
        if not self._retry_is_due:
            self._retry_is_due = True
            self._clock.call_later(delay, self._retry)

    def _retry(self) -> None:
        self._retry_is_due = False
        self._reconcile_again(compares=True)

    def _reconcile_again(self, *, compares: bool) -> None:
        try:
            self.reconcile(compares=compares)
        except PlatformError as error:
            log.warning("the routes are not renewed: %s", error)

    def _reconciled(self, result: ReconcileResult | PlatformError, *, planned_again: bool) -> None:
        if isinstance(result, PlatformError):
            log.warning("the system refuses routes: %s", result)
            self._end_without_tun()
            self._finish()
            return
        if planned_again and (result.restored or result.resourced):
            log.info("routes planned again: %d by %s", len(self._plan.routes), self._tun.name)
        elif result.restored:
            self._backoff.restored(self._clock.now)
            self._report_restored(result.restored)
        elif result.resourced:
            self._backoff.restored(self._clock.now)
            log.info(
                "routes whose source address was gone have it again: %d", len(result.resourced)
            )
        self._report_failed(result.failed)
        self._finish()

    def _report_restored(self, restored: list[str]) -> None:
        """Log what was restored, and the conflict where it is removed again and again."""
        more = f" and {len(restored) - SHOWN} more" if len(restored) > SHOWN else ""
        what = ", ".join(restored[:SHOWN]) + more
        self._conflict(f"another program has removed what is ours; restored: {what}")
        if self._backoff.wait:
            log.warning(
                "another program keeps removing what is ours; restored: %s; not again for %g s: "
                "end that program, or have it leave the routes of %s alone "
                "(`ip monitor route` shows what it does)",
                *(what, self._backoff.wait, self._tun.name),
            )
        else:
            log.warning("another program has removed what is ours; restored: %s", what)

    def _report_failed(self, failed: list[str]) -> None:
        """Log a failure once; it is tried again as long as it lasts."""
        if failed and failed != self._failed:
            what = "; ".join(failed)
            self._conflict(
                f"another program has changed what is ours, and it cannot be restored: {what}"
            )
            log.warning(
                "another program has changed what is ours, and it cannot be restored: %s. Packets "
                "that need it bypass the router until then: remove what prevents the repair of "
                "%s; it is tried again every %d s",
                *(what, self._tun.name, RETRY),
            )
        elif self._failed and not failed:
            log.info("everything of %s is restored", self._tun.name)
        self._failed = failed
        if failed:
            self._retry_in(RETRY)

    def _end_without_tun(self) -> None:
        """End the run, from a timer, if the TUN is gone; reading from one that was moved to another
        network namespace would never fail."""
        present = self._system.interfaces.all().values()
        if not any(interface.index == self._tun.index for interface in present):
            self._clock.call_later(0.0, self._end)

    def _end(self) -> None:
        raise PlatformError(
            f"{self._tun.name} is gone: another program has deleted it or moved it to another "
            "network namespace; start the router again"
        )

    def change(self, compiled: Compiled) -> RouteChanges:
        """Apply other rules. Raises PlatformError, OSError or MemoryError when that is refused, and
        everything is as it was, or RollbackFailedError."""
        endpoints = self._system.facts.endpoints()  # which waits for a reconciliation under way
        former = self._config, self._rules, self._depends_on, self._plan
        try:
            self._config, self._rules = compiled.config, compiled.rules
            self._depends_on = self._dependencies(endpoints)
            self._plan = compiled.plan
            if self._depends_on != compiled.depends_on:
                self._plan = self._make_plan(endpoints)
            before, after = set(former[-1].routes), set(self._plan.routes)
            if before != after:
                self._report_failed(self._system.routes.reconcile(self._plan.routes).failed)
        except (PlatformError, OSError, MemoryError) as refusal:
            self._config, self._rules, self._depends_on, self._plan = former
            self._roll_back(refusal)
            raise
        self._report(former[-1])
        return RouteChanges(len(after - before), len(before - after))

    def _roll_back(self, refusal: Exception) -> None:
        try:
            self._system.routes.reconcile(self._plan.routes)
        except PlatformError as error:
            raise RollbackFailedError(
                f"other rules could not be applied ({reason(refusal)}), and the former routes "
                f"could not be restored ({error}): stopping, and cleaning up now; start the "
                "router again"
            ) from error

    def _dependencies(self, endpoints: Sequence[Endpoint]) -> Dependencies:
        return dependencies(self._config, self._rules, self._facts_of, endpoints, self._servers())

    def _make_plan(self, endpoints: Sequence[Endpoint]) -> Plan:
        return make_plan(self._config, self._rules, self._facts_of, endpoints, self._servers())

    def _report(self, known: Plan | None = None) -> None:
        """What the plan exempts and a former one did not."""
        for endpoint in self._plan.exempt:
            if known is None or endpoint not in known.exempt:
                log.info("%s", exemption(endpoint))
        for server in self._plan.proxies:
            if known is None or server not in known.proxies:
                log.info("%s", exemption_of_proxy(server))
