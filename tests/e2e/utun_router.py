"""tunrouter with the macOS code for its TUN, its raw ICMP and its waiting: the same command line.

python -m tests.e2e.utun_router run -c rules.yaml

The utun is a pair of datagram sockets, whose other end is pumped to a TUN of Linux without
offloads. Its sockets are those of the macOS code, and take the options of xnu: raw ones behave as
those of xnu, and ICMP errors arrive at them alone. kqueue is one over epoll. Routes, facts and the
guard are those of Linux.

    router -- UtunDevice -- socket pair with families -- pump -- tun11 -- the system
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial
from ipaddress import IPv4Interface, IPv6Interface
from pathlib import Path

import router.platform
import router.platform.linux.system
from router.cli import main
from router.platform.base.descriptors import Poller
from router.platform.base.tun import TunDevice
from router.platform.darwin.poller import DarwinPoller
from router.platform.darwin.raw_icmp import RawIcmpSocket, RawIcmpv6Socket
from router.platform.darwin.sockets import DarwinSockets
from router.platform.darwin.tcp import DarwinTcpSockets
from router.platform.darwin.utun import UtunDevice
from router.platform.linux.client.tuns import LinuxTuns
from router.platform.linux.system import LinuxSystem
from tests.unit.darwin.xnu_raw import XnuRawSocket, XnuRawSocketV6
from tests.unit.darwin.xnu_sockets import XnuSocket
from tests.unit.platform.fake_kqueue import FakeKqueue

SIOCATMARK_OF_XNU, SIOCATMARK = 0x40047307, 0x8905
"""sys/sockio.h:79; asm-generic/sockios.h."""
FAMILIES = {4: b"\0\0\0\2", 6: b"\0\0\0\x1e"}
LARGEST = 1 << 17
QUEUE_LENGTH = Path("/proc/sys/net/unix/max_dgram_qlen")
"""Of the namespace."""


class PumpedUtun:
    """See Tuns: a utun whose kernel is a TUN of Linux. The threads of the pump are started before
    the router gives up the right to start any."""

    def __init__(self, tuns: LinuxTuns) -> None:
        QUEUE_LENGTH.write_text("500")  # as long as that of a TUN
        self._tuns = tuns
        self._kernel, self._ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._ours.setblocking(False)
        self._tun: Future[int] = Future()
        for pump in (_deliver, _take):
            arguments = self._tun, self._kernel
            threading.Thread(target=pump, args=arguments, daemon=True).start()

    @property
    def journal(self) -> Path | None:
        return self._tuns.journal

    def open_tun(
        self, name: str | None, mtu: int, addresses: Sequence[IPv4Interface | IPv6Interface]
    ) -> TunDevice:
        tun = self._tuns.open_tun(name, mtu, addresses)
        if tun.forwarded is not None:  # a utun has one queue
            os.close(tun.forwarded.fileno())
        os.set_blocking(tun.fileno(), True)
        self._tun.set_result(tun.fileno())
        return UtunDevice(self._ours.detach(), name=tun.name, index=tun.index, mtu=mtu)


def _deliver(tun: Future[int], kernel: socket.socket) -> None:
    """What the system sends by the TUN, and the end of that."""
    with contextlib.suppress(OSError):
        while True:
            packet = os.read(tun.result(), LARGEST)
            kernel.send(FAMILIES[packet[0] >> 4] + packet)
    with contextlib.suppress(OSError):
        kernel.send(b"")


def _take(tun: Future[int], kernel: socket.socket) -> None:
    """What the router writes; xnu takes nothing whose family is not its packet's."""
    while frame := kernel.recv(LARGEST):
        if frame[:4] == FAMILIES[frame[4] >> 4]:
            with contextlib.suppress(OSError):  # as of a TUN: the router does not wait for it
                os.write(tun.result(), frame[4:])


class XnuIcmpSocket(RawIcmpSocket, XnuRawSocket):
    """The router's view of a raw ICMP socket that behaves as one of xnu."""


class XnuIcmpSocketV6(RawIcmpv6Socket, XnuRawSocketV6):
    """The same of ICMPv6."""


class XnuSockets(DarwinSockets):
    raw_kinds = {4: XnuIcmpSocket, 6: XnuIcmpSocketV6}  # noqa: RUF012


class UtunSystem(LinuxSystem):
    def __init__(self, reread: Sequence[str], explain: Sequence[str]) -> None:
        super().__init__(reread, explain, offloads=False)
        self.tuns = PumpedUtun(self.tuns)  # type: ignore[assignment]
        self.sockets = XnuSockets(self._guard, XnuSocket)  # type: ignore[assignment]
        self.tcp = DarwinTcpSockets(XnuSocket, _ioctl)  # type: ignore[assignment]

    def poller(self) -> Poller:  # type: ignore[override]
        return DarwinPoller(FakeKqueue())


def _ioctl(descriptor: int, request: int, argument: bytes) -> bytes:
    assert request == SIOCATMARK_OF_XNU
    return fcntl.ioctl(descriptor, SIOCATMARK, argument)


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])
    router.platform.linux.system.GUARD = "tests.e2e.utun_guard"  # type: ignore[misc]
    router.platform.this_system = partial(UtunSystem)
    sys.exit(main())
