"""`tunrouter run` with all of macOS that is not a socket of an outbound, over the fakes of xnu:

    python -m tests.unit.darwin.fake_run DIRECTORY run -c rules.yaml

The guard is that of fake_guard, with its runtime directory; kqueue is one over epoll; events of
routes never come.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import router.platform
from router.cli import main
from router.platform.base.descriptors import Poller
from router.platform.base.facts import Reported
from router.platform.darwin import peer
from router.platform.darwin.absent import NoChanges, NoPacketFilter
from router.platform.darwin.client.facts import DarwinFacts
from router.platform.darwin.client.processes import DarwinProcesses
from router.platform.darwin.client.tuns import DarwinTuns
from router.platform.darwin.poller import DarwinPoller
from router.platform.darwin.sockets import DarwinSockets
from router.platform.darwin.state import DarwinInterfaces
from router.platform.darwin.system import DarwinSystem
from router.platform.darwin.tcp import DarwinTcpSockets
from router.platform.privileged.client import GuardClient
from router.platform.privileged.routes import GuardedRoutes
from router.platform.privileged.runtime import RuntimeDirectory
from tests.unit.darwin.fake_mac import FakeMac
from tests.unit.darwin.fake_processes import processes
from tests.unit.platform.fake_kqueue import FakeKqueue

DIRECTORY = Path(sys.argv[1])
RUNTIME = RuntimeDirectory(lambda: (DIRECTORY,), "df")
CREDENTIALS = struct.Struct("=iII")


class NoEvents(NoChanges):
    def drain(self) -> Reported:  # type: ignore[override] # of another kind of change
        return Reported([], False)


class FakeFacts(DarwinFacts):
    def watch(self) -> NoEvents:  # type: ignore[override] # what it stands for is a socket
        return NoEvents()


class FakeTcp(DarwinTcpSockets):
    def listening(self, address: bytes) -> socket.socket:
        """At the loopback interface: the utun has no address here."""
        family, host = (
            (socket.AF_INET, "127.0.0.1") if len(address) == 4 else (socket.AF_INET6, "::1")
        )
        sock = socket.create_server((host, 0), family=family)
        sock.setblocking(False)
        return sock


class FakeDarwin(DarwinSystem):
    """See System."""

    def __init__(self, reread: Sequence[str], explain: Sequence[str] = ()) -> None:
        del reread, explain
        self._guard = guard = GuardClient(
            "tests.unit.darwin.fake_guard", [str(DIRECTORY)], acknowledges=True
        )
        kernel = FakeMac().kernel
        self.sockets = DarwinSockets(guard)
        self.tcp = FakeTcp()
        self.tuns = DarwinTuns(guard, RUNTIME)
        self.routes = GuardedRoutes(guard)
        self.interfaces = DarwinInterfaces(kernel)
        self.facts = FakeFacts(guard, kernel, RUNTIME)
        self.packet_filter = NoPacketFilter()
        self.processes = DarwinProcesses(guard, processes())

    def poller(self) -> Poller:
        return DarwinPoller(FakeKqueue())


def root(sock: socket.socket) -> peer.Credentials:
    """By the option of Linux; as of root, whichever user runs the test."""
    value = sock.getsockopt(socket.SOL_SOCKET, 17, CREDENTIALS.size)  # SO_PEERCRED
    CREDENTIALS.unpack(value)
    return peer.Credentials(0, 0)


if __name__ == "__main__":
    router.platform.this_system = FakeDarwin  # before `run` takes it from there
    peer.peer_credentials = root
    sys.exit(main(sys.argv[2:]))
