"""The TUN's routes, and what other interfaces need beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from router.platform.base.errors import PlatformError
from router.policy.network import Interface
from router.policy.routes.route import Route


class ReconcileResult(NamedTuple):
    """What differed from what was installed, in a few words each.

    restored    was missing, and exists again
    failed      is missing still, with the reason
    resourced   routes that have their source address again, which they lose with that address
    """

    restored: list[str]
    failed: list[str]
    resourced: list[str]

    @classmethod
    def nothing(cls) -> ReconcileResult:
        return cls([], [], [])


class RouteInstaller(Protocol):
    """Sends prefixes to the TUN, and keeps bound sockets working beside those routes."""

    def begin_adding(self, routes: Sequence[Route]) -> Callable[[], None]:
        """Send the prefixes to the TUN; what is returned waits until it is done.

        A route whose source address has just gone has none until it is reconciled. Both raise
        PlatformError, the second one that names the route refused.
        """
        ...

    def reconcile(self, routes: Sequence[Route]) -> ReconcileResult:
        """Restore the TUN as it was made, with exactly these routes, whatever has changed it.

        As in begin_adding, an address that is gone is no failure. One failure does not keep the
        rest from being restored. Raises PlatformError when the TUN is gone, or when the system
        refuses routes although the TUN has all that they need.
        """
        ...

    def request_reconcile(
        self, routes: Sequence[Route], done: Callable[[ReconcileResult | PlatformError], None]
    ) -> None:
        """The same without waiting: `done` is called with the result or the error, at the latest by
        GuardConnection.dispatch. Raises PlatformError."""
        ...

    def prepare_interface(self, interface: Interface) -> bool:
        """Let packets of sockets bound to the interface out, and the answers in; whether that
        changed anything. Raises PlatformError.

        Idempotent; `System.close` undoes what it changes, as does the end of the process.
        """
        ...

    def request_prepare_interface(
        self, interface: Interface, done: Callable[[bool | PlatformError], None]
    ) -> None:
        """The same without waiting, see `request_reconcile`. Raises PlatformError."""
        ...
