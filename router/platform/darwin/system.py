"""macOS, put together; see router.platform.base.system."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from router.platform.base.descriptors import Poller
from router.platform.base.errors import PlatformError
from router.platform.darwin.absent import NoCounters, NoPacketFilter
from router.platform.darwin.client.facts import DarwinFacts
from router.platform.darwin.client.processes import DarwinProcesses
from router.platform.darwin.client.tuns import DarwinTuns
from router.platform.darwin.kernel import Xnu
from router.platform.darwin.processes_kernel import XnuProcesses
from router.platform.darwin.sockets import DarwinSockets
from router.platform.darwin.state import DarwinInterfaces
from router.platform.darwin.tcp import DarwinTcpSockets
from router.platform.privileged.arguments import BETWEEN_COMMANDS
from router.platform.privileged.client import GuardClient
from router.platform.privileged.routes import GuardedRoutes

GUARD: Final = "router.platform.darwin.guard"


class DarwinSystem:
    """See System.

    reread, explain: the commands that `processes.start_reread` and `start_explain` start.
    """

    def __init__(self, reread: Sequence[str], explain: Sequence[str] = ()) -> None:
        self._guard = guard = GuardClient(GUARD, (*reread, BETWEEN_COMMANDS, *explain))
        kernel = Xnu()
        self.tuns = DarwinTuns(guard)
        self.routes = GuardedRoutes(guard)
        self.sockets = DarwinSockets(guard)
        self.tcp = DarwinTcpSockets()
        self.interfaces = DarwinInterfaces(kernel)
        self.facts = DarwinFacts(guard, kernel)
        self.packet_filter = NoPacketFilter()
        self.processes = DarwinProcesses(guard, XnuProcesses())

    def answer_counters(self) -> NoCounters:
        return NoCounters()

    def poller(self) -> Poller:
        if sys.platform == "darwin":
            from router.platform.darwin.poller import DarwinPoller, SystemKqueue  # noqa: PLC0415

            return DarwinPoller(SystemKqueue())
        raise PlatformError("kqueue is there on macOS alone")

    def close(self) -> None:
        self.sockets.close()
        self._guard.close(self.tuns.journal)
