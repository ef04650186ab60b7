"""The calls to xnu that no other system has, behind two small Protocols.

Must not know: what is requested and why.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import subprocess
from collections.abc import Sequence
from typing import Any, Final, Protocol

from router.platform.darwin.constants import AF_ROUTE, AF_SYSTEM, SYSPROTO_CONTROL

TRIES: Final = 5
"""Of a dump that grows between its size and its content."""
EVENT_BUFFER: Final = 1 << 19
"""Bytes, of some thousand messages."""
BOOT_SESSION: Final = b"kern.bootsessionuuid"
BOOT_SESSION_SIZE: Final = 64


class ControlSocket(Protocol):
    """A socket of PF_SYSTEM. All methods but `close` raise OSError."""

    def fileno(self) -> int: ...

    def connect(self, address: tuple[int, int], /) -> None:
        """To the id of a kernel control, and a unit of it; 0: any."""
        ...

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...

    def setsockopt(self, level: int, option: int, value: int, /) -> None: ...

    def setblocking(self, flag: bool, /) -> None: ...

    def detach(self) -> int: ...

    def close(self) -> None: ...


class UtunKernel(Protocol):
    """What opening a utun needs."""

    def control_socket(self) -> ControlSocket:
        """Raises OSError."""
        ...

    def ioctl(self, descriptor: int, request: int, argument: bytes) -> bytes:
        """Raises OSError."""
        ...

    def index_of(self, name: str) -> int:
        """Of an interface. Raises OSError."""
        ...

    def configure(self, arguments: Sequence[str]) -> None:
        """ifconfig(8). Raises OSError whose text is the program's."""
        ...


class RouteSocket(Protocol):
    """A socket of PF_ROUTE. All methods but `close` raise OSError."""

    def fileno(self) -> int: ...

    def send(self, message: bytes, /) -> int:
        """One message; the kernel's answer is the error."""
        ...

    def recv(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class RoutingKernel(Protocol):
    """What reading and changing routes needs."""

    def route_socket(self) -> RouteSocket:
        """For changes: it receives nothing. Raises OSError."""
        ...

    def event_socket(self) -> RouteSocket:
        """For events, and answers to queries; non-blocking. Raises OSError."""
        ...

    def sysctl(self, name: Sequence[int]) -> bytes:
        """Raises OSError."""
        ...

    def boot_session(self) -> str:
        """What names this boot, and no other. Raises OSError."""
        ...


class Xnu:
    """The kernel of a Mac; see UtunKernel and RoutingKernel. library: libc, or what has its
    functions."""

    def __init__(self, library: Any = None) -> None:
        self._library = library or ctypes.CDLL(None, use_errno=True)

    def control_socket(self) -> ControlSocket:
        sock: Any = socket.socket(AF_SYSTEM, socket.SOCK_DGRAM, SYSPROTO_CONTROL)
        found: ControlSocket = sock
        return found

    def ioctl(self, descriptor: int, request: int, argument: bytes) -> bytes:
        return fcntl.ioctl(descriptor, request, argument)

    def index_of(self, name: str) -> int:
        return socket.if_nametoindex(name)

    def configure(self, arguments: Sequence[str]) -> None:
        done = subprocess.run(
            ["/sbin/ifconfig", *arguments], check=False, capture_output=True, text=True
        )
        if done.returncode != 0 or done.stderr:
            why = done.stderr.strip() or f"ifconfig ended with {done.returncode}"
            raise OSError(errno.EIO, why)

    def route_socket(self) -> RouteSocket:
        """Without the copies of its own messages, which nobody would read (net/rtsock.c:856)."""
        sock = socket.socket(AF_ROUTE, socket.SOCK_RAW, 0)
        try:
            sock.shutdown(socket.SHUT_RD)
        except OSError:
            sock.close()
            raise
        return sock

    def event_socket(self) -> RouteSocket:
        """With room for many messages, 8192 bytes otherwise (net/raw_cb.h:87): what finds none is
        lost, and nothing says so (net/raw_usrreq.c, raw_input)."""
        sock = socket.socket(AF_ROUTE, socket.SOCK_RAW, 0)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, EVENT_BUFFER)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
        return sock

    def sysctl(self, name: Sequence[int]) -> bytes:
        """sysctl(3), which is not variadic, so ctypes may call it. The first call gives a size,
        which the kernel has rounded up; what is added meanwhile may need another."""
        call = self._library.sysctl
        path = (ctypes.c_int * len(name))(*name)
        for _ in range(TRIES):
            size = ctypes.c_size_t(0)
            _check(call(path, len(name), None, ctypes.byref(size), None, 0))
            buffer = ctypes.create_string_buffer(max(size.value, 1))
            if call(path, len(name), buffer, ctypes.byref(size), None, 0) == 0:
                return buffer.raw[: size.value]
            if ctypes.get_errno() != errno.ENOMEM:
                break
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

    def boot_session(self) -> str:
        """A UUID (kern/kern_sysctl.c:2881)."""
        call = self._library.sysctlbyname
        buffer = ctypes.create_string_buffer(BOOT_SESSION_SIZE)
        size = ctypes.c_size_t(len(buffer))
        _check(call(BOOT_SESSION, buffer, ctypes.byref(size), None, 0))
        return buffer.value.decode("ascii", "replace")


def _check(status: int) -> None:
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
