"""Routes and the preparation of interfaces by the guard."""

from __future__ import annotations

from typing import Any

from router.platform.privileged.routes import GuardedRoutes
from router.policy.network import Interface


class LinuxRoutes(GuardedRoutes):
    def arguments(self, interface: Interface) -> dict[str, Any]:
        """routed: whether IPv6 packets need a route."""
        return {**super().arguments(interface), "routed": interface.source(6) is not None}
