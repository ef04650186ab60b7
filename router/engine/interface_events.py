"""What follows when interfaces, addresses or routes of the system change: outbounds are brought in
line with them, flows that have lost their outbound end, routes are reconciled.

Always true: a burst of notifications is one change, handled SETTLING seconds after the first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from router.engine.assembly import Parts
from router.engine.loop import Loop
from router.engine.policy_log import log_policies
from router.engine.routes.installed import InstalledRoutes
from router.platform.base.errors import PlatformError
from router.platform.base.facts import Changes

log = logging.getLogger(__name__)

SETTLING: Final = 0.05
"""Seconds to wait for further notifications of one change."""


class InterfaceEvents:
    """changes: notifications of the system. changed: called when an outbound has changed."""

    def __init__(
        self,
        changes: Changes,
        parts: Parts,
        installed: InstalledRoutes,
        loop: Loop,
        changed: Callable[[], None],
    ) -> None:
        self._changes = changes
        self._parts = parts
        self._installed = installed
        self._loop = loop
        self._changed = changed
        self._settling = False
        loop.watch(changes, self._notified)

    def _notified(self) -> None:
        self._changes.drain()
        if not self._settling:
            self._settling = True
            self._loop.call_later(SETTLING, self._settled)

    def _settled(self) -> None:
        self._settling = False
        outbounds, forwarder = self._parts.outbounds, self._parts.forwarder
        changes = outbounds.refresh()
        self._parts.local_replies.close_unused()
        for change in changes:
            forwarder.carriers.forget(change)
        changed = [change.outbound for change in changes if change.differs]
        names = [name for name, each in outbounds.by_policy.items() if each in changed]
        log_policies(forwarder.config, outbounds, names)
        try:
            self._installed.reconcile()
        except PlatformError as error:
            log.warning("%s", error)  # if the guard has ended, its dispatch raises too
        if changed:
            self._changed()
