"""All that the router needs of a system. A module that needs one part of it names that part's
Protocol alone."""

from __future__ import annotations

from typing import Protocol

from router.platform.base.descriptors import Poller
from router.platform.base.facts import Facts, Interfaces
from router.platform.base.processes import Processes
from router.platform.base.routes import RouteInstaller
from router.platform.base.sockets import Sockets
from router.platform.base.tcp import TcpSockets
from router.platform.base.tun import Tuns


class System(Tuns, RouteInstaller, Sockets, Facts, Processes, Protocol):
    """One run's."""

    interfaces: Interfaces
    streams: TcpSockets

    def poller(self) -> Poller: ...

    def close(self) -> None:
        """Undo every change that does not go by itself. Raises PlatformError that names what is
        left to do."""
        ...
