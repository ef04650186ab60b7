"""All that the router needs of a system, by purpose. A module that needs one part of it should name
that part's Protocol alone."""

from __future__ import annotations

from typing import Protocol

from router.platform.base.answers import AnswerCounters
from router.platform.base.descriptors import Poller
from router.platform.base.facts import Facts, Interfaces
from router.platform.base.packet_filter import PacketFilter
from router.platform.base.processes import Processes
from router.platform.base.routes import RouteInstaller
from router.platform.base.sockets import Sockets
from router.platform.base.tcp import TcpSockets
from router.platform.base.tun import Tuns


class System(Protocol):
    """One run's."""

    @property
    def tuns(self) -> Tuns: ...

    @property
    def routes(self) -> RouteInstaller: ...

    @property
    def sockets(self) -> Sockets: ...

    @property
    def tcp(self) -> TcpSockets: ...

    @property
    def interfaces(self) -> Interfaces: ...

    @property
    def facts(self) -> Facts: ...

    @property
    def packet_filter(self) -> PacketFilter: ...

    @property
    def processes(self) -> Processes: ...

    def answer_counters(self) -> AnswerCounters:
        """Raises PlatformError, OSError where the system has no such thing, or refuses it."""
        ...

    def poller(self) -> Poller: ...

    def close(self) -> None:
        """Undo every change that does not go by itself. Raises PlatformError that names what is
        left to do."""
        ...
