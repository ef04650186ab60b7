"""A fake of the kernel control that makes utuns, which refuses what the kernel does."""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence

from router.platform.darwin.kernel import ControlSocket
from tests.unit.darwin import layouts
from tests.unit.darwin.fake_kernel import refuse

CONTROL_ID = 7


class FakeControl:
    """One connection to com.apple.net.utun_control (net/if_utun.c, kern/kern_control.c)."""

    def __init__(self, system: FakeSystem) -> None:
        self._system = system
        self.device, self.ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.unit = 0
        self.pending = 1
        self.fileno = self.ours.fileno
        self.detach = self.ours.detach
        self.setblocking = self.ours.setblocking
        self.is_closed = False

    def connect(self, address: tuple[int, int], /) -> None:
        control, unit = address
        if control != CONTROL_ID:
            raise refuse(errno.ENOENT)
        if not self._system.is_root:
            raise refuse(errno.EPERM)  # kern/kern_control.c:468
        if unit in self._system.taken:
            raise refuse(errno.EBUSY)
        self.unit = unit or max(self._system.taken, default=0) + 1
        self._system.taken.add(self.unit)

    def setsockopt(self, level: int, option: int, value: int, /) -> None:
        if (level, option) != (2, 16) or value == 0 or not self.unit:
            raise refuse(errno.EINVAL)  # net/if_utun.c:2179
        self.pending = value

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        if (level, option) != (2, 2) or not self.unit:
            raise refuse(errno.EINVAL)
        return f"utun{self.unit - 1}".encode().ljust(size, b"\0")

    def close(self) -> None:
        self.is_closed = True
        self.ours.close()
        self._system.taken.discard(self.unit)


class FakeSystem:
    """See UtunKernel."""

    def __init__(self) -> None:
        self.is_root = True
        self.taken = {1, 2}
        self.opened: list[FakeControl] = []
        self.configured: list[str] = []
        self.refused: str | None = None

    def control_socket(self) -> ControlSocket:
        self.opened.append(FakeControl(self))
        return self.opened[-1]

    def ioctl(self, descriptor: int, request: int, argument: bytes) -> bytes:
        assert descriptor == self.opened[-1].fileno()
        assert request == 0xC0644E03
        info = layouts.CtlInfo.from_buffer_copy(argument)
        if info.ctl_name != b"com.apple.net.utun_control":
            raise refuse(errno.ENOENT)
        info.ctl_id = CONTROL_ID
        return bytes(info)

    def index_of(self, name: str) -> int:
        return 10 + int(name.removeprefix("utun"))

    def configure(self, arguments: Sequence[str]) -> None:
        line = " ".join(arguments)
        if self.refused is not None and self.refused in line:
            raise OSError(errno.EIO, "ifconfig: ioctl (SIOCAIFADDR): Can't assign address")
        self.configured.append(line)
