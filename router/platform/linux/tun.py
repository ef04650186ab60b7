"""The TUN device (linux/if_tun.h, Documentation/networking/tuntap.rst).

The device lives as long as its descriptor: whatever ends the process takes the device, its
addresses and its routes with it.
"""

from __future__ import annotations

import errno
import os
import socket
from fcntl import ioctl
from struct import Struct
from typing import Final

from router.platform.base import PlatformError

DEVICE: Final = "/dev/net/tun"
TUNSETIFF: Final = 0x400454CA
IFF_TUN: Final = 0x0001
IFF_NO_PI: Final = 0x1000
IFREQ: Final = Struct("16sH22x")
ANY_NAME: Final = "tun%d"
MAX_PACKET: Final = 65535


class LinuxTun:
    """An open TUN device; see TunDevice."""

    def __init__(self, descriptor: int, name: str, mtu: int) -> None:
        self.name = name
        self.index = socket.if_nametoindex(name)
        self.mtu = mtu
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> bytes:
        return os.read(self._descriptor, MAX_PACKET)

    def write(self, packet: bytes | bytearray) -> None:
        os.write(self._descriptor, packet)

    def close(self) -> None:
        os.close(self._descriptor)


def open_tun(name: str | None, mtu: int) -> LinuxTun:
    """Make a TUN device, still without addresses and down.

    Raises PlatformError.
    """
    try:
        descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise PlatformError(_why_no_device(error)) from error
    try:
        request = IFREQ.pack((name or ANY_NAME).encode(), IFF_TUN | IFF_NO_PI)
        answer = ioctl(descriptor, TUNSETIFF, request)
    except OSError as error:
        os.close(descriptor)
        raise PlatformError(_why_no_interface(error, name)) from error
    return LinuxTun(descriptor, IFREQ.unpack(answer)[0].rstrip(b"\0").decode(), mtu)


def _why_no_device(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"{DEVICE} does not exist: load the kernel module (modprobe tun)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{DEVICE} may not be opened ({error.strerror}): in a container, pass the device in"
    return f"{DEVICE} cannot be opened: {error.strerror}"


def _why_no_interface(error: OSError, name: str | None) -> str:
    shown = name or "a TUN device"
    if error.errno == errno.EBUSY:
        return f"{shown} is in use by another program: end it, or choose another tun name"
    if error.errno == errno.EPERM:
        return f"{shown} cannot be made ({error.strerror}): CAP_NET_ADMIN is missing, run as root"
    return f"{shown} cannot be made: {error.strerror}"
