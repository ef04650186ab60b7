"""What follows when interfaces, addresses or routes of the system change: outbounds are brought in
line with them, flows that have lost their outbound end, routes are reconciled.

Always true: a burst of notifications is one change, handled SETTLING seconds after the first, as
soon as the guard has nothing else to do: packets do not wait for one that is busy or hangs. Where
only routes of other programs have changed that ours have nothing to do with, ours are not compared
with those of the system, which may have hundreds of thousands.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from router.engine.assembly import Parts
from router.engine.loop import Loop
from router.engine.policy_log import log_policies
from router.engine.routes.installed import InstalledRoutes
from router.platform.base.errors import PlatformError
from router.platform.base.facts import Changes, Facts, NetworkChanges
from router.platform.base.processes import GuardConnection
from router.platform.reason import reason

log = logging.getLogger(__name__)

SETTLING: Final = 0.05
"""Seconds to wait for further notifications of one change."""
RETRY: Final = 1.0
"""Seconds until interfaces that could not be read are read again."""


class InterfaceEvents:
    """changes, neighbours: notifications of the system. changed: called with the names of policies
    whose outbound has changed."""

    def __init__(
        self,
        changes: NetworkChanges,
        neighbours: Changes,
        facts: Facts,
        guard: GuardConnection,
        parts: Parts,
        installed: InstalledRoutes,
        loop: Loop,
        changed: Callable[[Sequence[str]], None],
    ) -> None:
        self._changes = changes
        self._guard = guard
        self._parts = parts
        self._installed = installed
        self._loop = loop
        self._changed = changed
        self._settling = False
        self._neighbours = neighbours
        self._facts = facts
        self._concerns_routes = self._address_removed = False
        loop.watch(changes, self._notified)
        loop.watch(neighbours, self._neighbours_changed)

    def _neighbours_changed(self) -> None:
        self._neighbours.drain()
        self._parts.senders.forget_next_hops()

    def _notified(self) -> None:
        routes, address_removed = self._changes.drain()
        self._address_removed |= address_removed
        self._concerns_routes |= routes is None or any(map(self._installed.is_beside, routes))
        if routes is None or any(map(self._installed.may_have_source_of, routes)):
            self._facts.forget_sources()
        if routes is None or routes:
            self._parts.forwarder.direct.stop_forwarding()
            self.settle()

    def settle(self) -> None:
        """Have outbounds and what depends on them brought in line, soon."""
        if not self._settling:
            self._settling = True
            self._loop.call_later(SETTLING, partial(self._guard.when_free, self._guard_is_free))

    def _guard_is_free(self, error: PlatformError | None) -> None:
        if error is not None:
            # If the guard has ended, its dispatch raises too.
            log.warning("a change of interfaces is not followed: %s", error)
            self._settling = False
            return
        self._loop.call_later(0.0, self._settled)  # from a timer, so that sockets may be closed

    def _settled(self) -> None:
        outbounds, forwarder = self._parts.outbounds, self._parts.forwarder
        try:
            changes = outbounds.refresh(address_removed=self._address_removed)
        except OSError as error:  # netlink had no memory for the answer
            log.warning(
                "the interfaces cannot be read: %s: trying again in %g s", reason(error), RETRY
            )
            self._loop.call_later(RETRY, partial(self._guard.when_free, self._guard_is_free))
            return
        self._settling = self._address_removed = False
        compares, self._concerns_routes = self._concerns_routes, False
        self._parts.senders.refresh()
        self._parts.senders.prepare(outbounds.interface_names())
        if changes:
            self._parts.obstacles.request()
        forwarder.direct.forget()
        if self._parts.answers.refresh():
            forwarder.rules.count_again(forwarder.carriers)
        for change in changes:
            forwarder.carriers.forget(change)
        changed = [change.outbound for change in changes if change.differs]
        names = [name for name, each in outbounds.by_policy.items() if each in changed]
        log_policies(forwarder.config, outbounds, names)
        try:
            self._installed.reconcile(compares=compares)
        except PlatformError as error:
            # If the guard has ended, its dispatch raises too.
            log.warning("the routes are not renewed: %s", error)
        if changed:
            self._changed(names)
