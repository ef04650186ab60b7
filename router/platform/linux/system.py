"""Linux, put together; see router.platform.base.system."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from router.platform.linux.client.answers import LinuxAnswerCounters
from router.platform.linux.client.facts import LinuxFacts
from router.platform.linux.client.packet_filter import LinuxPacketFilter
from router.platform.linux.client.processes import LinuxProcesses
from router.platform.linux.client.routes import LinuxRoutes
from router.platform.linux.client.sockets import LinuxSockets
from router.platform.linux.client.tuns import LinuxTuns
from router.platform.linux.interfaces import LinuxInterfaces
from router.platform.linux.poller import LinuxPoller
from router.platform.linux.tcp import LinuxTcpSockets
from router.platform.privileged.arguments import BETWEEN_COMMANDS
from router.platform.privileged.client import GuardClient

GUARD: Final = "router.platform.linux.guard"


class LinuxSystem:
    """See System.

    reread, explain: the commands that `processes.start_reread` and `start_explain` start.
    offloads: whether the TUN may leave checksums and segmentation to the router, and bytes may be
    spliced. Without, everything works the same, slower, as on a system that has neither.
    """

    def __init__(
        self, reread: Sequence[str], explain: Sequence[str] = (), *, offloads: bool = True
    ) -> None:
        arguments = (*reread, BETWEEN_COMMANDS, *explain)
        self._guard = guard = GuardClient(GUARD, arguments)
        self.tuns = LinuxTuns(guard, offloads=offloads)
        self.routes = LinuxRoutes(guard)
        self.sockets = LinuxSockets(guard)
        self.tcp = LinuxTcpSockets(guard, splicing=offloads)
        self.interfaces = LinuxInterfaces()
        self.facts = LinuxFacts(guard, self.interfaces)
        self.packet_filter = LinuxPacketFilter(guard)
        self.processes = LinuxProcesses(guard)

    def answer_counters(self) -> LinuxAnswerCounters:
        return LinuxAnswerCounters(self._guard)

    def poller(self) -> LinuxPoller:
        return LinuxPoller()

    def close(self) -> None:
        self.sockets.close()
        self._guard.close(self.tuns.journal)
