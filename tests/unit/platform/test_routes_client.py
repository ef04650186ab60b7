"""The routes that the router has sent to the guard."""

from __future__ import annotations

from typing import Any, cast

import pytest

from router.platform.base.errors import PlatformError
from router.platform.linux.client.routes import LinuxRoutes
from router.platform.linux.route_message import unpack_routes
from router.platform.privileged.channel import Message
from router.policy.routes.capture import Label, Route

OLD, NEW = [Route(4, 1 << 24, 8, Label(1500))], [Route(4, 2 << 24, 8, Label(1500))]


class MemoryGuard:
    """See GuardClient. `refuses`: whether it refuses to change routes."""

    def __init__(self) -> None:
        self.routes: Any = None
        self.refuses = False

    def call(self, operation: str, **arguments: Any) -> Message:
        if arguments["routes"] is not None:
            self.routes = arguments["routes"]
        if self.refuses:
            raise PlatformError("no")
        return Message(([], [], []))


def test_refused_routes_do_not_count_as_sent() -> None:
    """The guard keeps the routes of the last request, even if they were refused: the former ones
    have to be sent again to be restored."""
    guard = MemoryGuard()
    routes = LinuxRoutes(cast(Any, guard))
    routes.add_routes(OLD)
    guard.refuses = True
    with pytest.raises(PlatformError):
        routes.reconcile(NEW)
    guard.refuses = False
    routes.reconcile(OLD)
    assert unpack_routes(guard.routes) == OLD
