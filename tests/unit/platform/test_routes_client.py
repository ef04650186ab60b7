"""The routes that the router has sent to the guard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from router.platform.base.errors import PlatformError
from router.platform.linux.client.routes import LinuxRoutes
from router.platform.privileged.channel import Message
from router.platform.privileged.route_message import unpack_routes
from router.policy.routes.route import Label, Route

OLD, NEW = [Route(4, 1 << 24, 8, Label(1500))], [Route(4, 2 << 24, 8, Label(1500))]


class MemoryGuard:
    """See GuardClient. `refuses`: whether it refuses to change routes."""

    def __init__(self) -> None:
        self.routes: list[Route] = []
        self.later: list[Any] = []
        self.refuses = False

    def call(self, operation: str, records: bytes, *, labels: Any) -> Message:
        if self.refuses:
            raise PlatformError("no")
        if labels is not None:
            self.routes = unpack_routes(labels, records)
        return Message(([], [], []))

    def begin(self, operation: str, records: bytes, *, labels: Any) -> Callable[[], Message]:
        reply = self.call(operation, records, labels=labels)
        return lambda: reply

    def request(self, operation: str, done: Any, records: bytes, *, labels: Any) -> None:
        self.later.append(done)


def test_refused_routes_do_not_count_as_sent() -> None:
    """The next request has to send its routes, whichever they are."""
    guard = MemoryGuard()
    routes = LinuxRoutes(cast(Any, guard))
    routes.begin_adding(OLD)()
    guard.refuses = True
    with pytest.raises(PlatformError):
        routes.reconcile(NEW)
    guard.refuses = False
    routes.reconcile(OLD)
    assert guard.routes == OLD


def test_routes_that_are_refused_later_do_not_count_as_sent() -> None:
    guard = MemoryGuard()
    routes = LinuxRoutes(cast(Any, guard))
    routes.begin_adding(OLD)()
    results: list[object] = []
    routes.request_reconcile(NEW, results.append)
    guard.later.pop()(PlatformError("no"))
    assert len(results) == 1
    routes.reconcile(NEW)
    assert guard.routes == NEW
