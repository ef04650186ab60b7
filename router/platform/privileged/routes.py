"""Routes and the preparation of interfaces by the guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from router.platform.base.errors import PlatformError
from router.platform.base.routes import ReconcileResult
from router.platform.privileged.client import GuardClient, value_callback
from router.platform.privileged.route_message import pack_routes
from router.policy.network import Interface
from router.policy.routes.route import Route


class GuardedRoutes:
    """See RouteInstaller.

    Always true: the guard has the routes of the last request that it carried out, so routes that
    are the same object as those are not sent again; a million of them are 22 MB.
    """

    def __init__(self, guard: GuardClient) -> None:
        self._guard = guard
        self._sent: Sequence[Route] = ()

    def begin_adding(self, routes: Sequence[Route]) -> Callable[[], None]:
        labels, records = pack_routes(routes)
        replied = self._guard.begin("add_routes", records, labels=labels)

        def finish() -> None:
            replied()
            self._sent = routes

        return finish

    def reconcile(self, routes: Sequence[Route]) -> ReconcileResult:
        labels, records = self._unsent(routes)
        self._sent = ()
        reply = self._guard.call("reconcile", records, labels=labels)
        self._sent = routes
        return _result(reply.value)

    def request_reconcile(
        self, routes: Sequence[Route], done: Callable[[ReconcileResult | PlatformError], None]
    ) -> None:
        labels, records = self._unsent(routes)
        self._sent = routes

        def reconciled(result: ReconcileResult | PlatformError) -> None:
            if isinstance(result, PlatformError) and self._sent is routes:
                self._sent = ()
            done(result)

        callback = value_callback(reconciled, _result)
        self._guard.request("reconcile", callback, records, labels=labels)

    def _unsent(self, routes: Sequence[Route]) -> tuple[Sequence[Any] | None, bytes]:
        """Nothing if the guard has them."""
        return (None, b"") if routes is self._sent else pack_routes(routes)

    def prepare_interface(self, interface: Interface) -> bool:
        return bool(self._guard.call("prepare_interface", **self.arguments(interface)).value)

    def request_prepare_interface(
        self, interface: Interface, done: Callable[[bool | PlatformError], None]
    ) -> None:
        self._guard.request(
            "prepare_interface", value_callback(done, bool), **self.arguments(interface)
        )

    def arguments(self, interface: Interface) -> dict[str, Any]:
        """What the guard has to know of an interface that it prepares."""
        return {"name": interface.name, "index": interface.index}


def _result(value: Any) -> ReconcileResult:
    return ReconcileResult(*value)
