"""The utun device: a socket of PF_SYSTEM, each datagram a packet with its family before it
(net/if_utun.c).

The device lives as long as its descriptor: the kernel removes it then with its addresses and its
routes. It leaves no checksum and no segmentation undone, so frames have a header of zeros.

Packets to the device's own IPv4 address come out of it, since `ifconfig A B` routes B alone
(netinet/in.c:1793-1806) and a host route by the device is added for A: they are written back, and
the kernel takes them, as they arrive by the interface that has the address
(netinet/ip_input.c:242-278).
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Sequence
from ipaddress import IPv4Interface, IPv6Interface
from struct import Struct
from typing import Any, Final

from router.platform.base.descriptors import Bytes
from router.platform.base.errors import PlatformError
from router.platform.base.flow_offload import FlowOffload
from router.platform.base.tun import TunQueue
from router.platform.darwin.constants import (
    CTLIOCGINFO,
    SYSPROTO_CONTROL,
    UTUN_CONTROL,
    UTUN_OPT_IFNAME,
    UTUN_OPT_MAX_PENDING_PACKETS,
)
from router.platform.darwin.frames import HEADER, family_of
from router.platform.darwin.kernel import ControlSocket, UtunKernel
from router.platform.reason import reason, remedy
from router.wire import offload
from router.wire.headers import V4_DESTINATION

CTL_INFO: Final = Struct("<I96s")
"""struct ctl_info (sys/kern_control.h:118-121)"""
NAME: Final = re.compile(r"utun(\d{1,4})")
NAME_SIZE: Final = 16
ANY_UNIT: Final = 0
PENDING: Final = 512
"""Packets that the kernel has ready to be read; what is more waits in the interface's queue, so a
small number loses nothing and costs wake-ups (net/if_utun.c:2598-2625)."""
MAX_PACKET: Final = 65535
PREFIX_V6: Final = 126
"""With a length of 128 the peer has no route; a destination would demand 128
(netinet6/in6.c:2526-2535)."""


class UtunDevice:
    """An open utun; see TunDevice.

    own: its IPv4 addresses, four bytes each.
    """

    offloads = False
    forwarded: TunQueue | None = None
    flow_offload: FlowOffload | None = None

    def __init__(
        self, descriptor: int, *, name: str, index: int, mtu: int, own: Collection[bytes] = ()
    ) -> None:
        self.name = name
        self.index = index
        self.mtu = mtu
        self.frame = bytearray(offload.HEADER + MAX_PACKET)
        self._descriptor = descriptor
        self.own = frozenset(own)
        self._family = bytearray(HEADER)
        self._view = memoryview(self.frame)[offload.HEADER :]
        self._into: Sequence[Any] = [self._family, self._view]

    def fileno(self) -> int:
        return self._descriptor

    def receive(self) -> int:
        view = self._view
        while True:
            size = os.readv(self._descriptor, self._into) - HEADER
            if size <= 0:
                raise OSError(errno.ENXIO, "the utun is gone")
            if not (view[0] >> 4 == 4 and bytes(view[V4_DESTINATION]) in self.own):
                return size + offload.HEADER
            os.writev(self._descriptor, (self._family, view[:size]))

    def send(self, size: int) -> None:
        packet = self._view[: size - offload.HEADER]
        os.writev(self._descriptor, (family_of(packet), packet))

    def write(self, packet: bytes | bytearray) -> None:
        os.writev(self._descriptor, (family_of(packet), packet))

    def write_parts(self, parts: Sequence[Bytes]) -> None:
        """The system takes no such frames; see TunDevice.offloads."""
        raise OSError(errno.EINVAL, f"a utun takes no frame of {len(parts)} parts")

    def close(self) -> None:
        os.close(self._descriptor)


def open_utun(
    kernel: UtunKernel,
    name: str | None,
    mtu: int,
    addresses: Sequence[IPv4Interface | IPv6Interface],
) -> UtunDevice:
    """See Tuns.open_tun. Raises PlatformError."""
    unit = ANY_UNIT if name is None else _unit_of(name)
    sock = _control_socket(kernel)
    try:
        made = _connect(kernel, sock, unit, name)
        own = _configure(kernel, made, mtu, addresses)
        return UtunDevice(sock.detach(), name=made, index=kernel.index_of(made), mtu=mtu, own=own)
    except OSError as error:
        sock.close()
        raise PlatformError(f"a utun cannot be set up: {reason(error)}: {remedy(error)}") from error
    except PlatformError:
        sock.close()
        raise


def _unit_of(name: str) -> int:
    """Units count from 1, names from 0."""
    found = NAME.fullmatch(name)
    if found is None:
        raise PlatformError(
            f"a TUN of macOS is called utun and a number, and {name} is not: write 'name: utun11', "
            "say, or leave the name out"
        )
    return int(found[1]) + 1


def _control_socket(kernel: UtunKernel) -> ControlSocket:
    try:
        return kernel.control_socket()
    except OSError as error:
        raise PlatformError(f"no utun can be opened: {reason(error)}: {remedy(error)}") from error


def _connect(kernel: UtunKernel, sock: ControlSocket, unit: int, name: str | None) -> str:
    """Make the device; its name. Raises OSError, PlatformError."""
    info = kernel.ioctl(sock.fileno(), CTLIOCGINFO, CTL_INFO.pack(0, UTUN_CONTROL.encode()))
    control, _ = CTL_INFO.unpack(info)
    try:
        sock.connect((control, unit))
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise PlatformError(
                f"{name or 'a utun'} is in use by another program: end it, or choose another tun "
                "name"
            ) from error
        if error.errno in (errno.EPERM, errno.EACCES):
            raise PlatformError("a utun can be made by root alone: run it by sudo") from error
        raise
    sock.setsockopt(SYSPROTO_CONTROL, UTUN_OPT_MAX_PENDING_PACKETS, PENDING)
    sock.setblocking(False)
    given = sock.getsockopt(SYSPROTO_CONTROL, UTUN_OPT_IFNAME, NAME_SIZE)
    return given.partition(b"\0")[0].decode()


def _configure(
    kernel: UtunKernel,
    name: str,
    mtu: int,
    addresses: Sequence[IPv4Interface | IPv6Interface],
) -> list[bytes]:
    """MTU, addresses, and up; the IPv4 addresses. Raises OSError."""
    kernel.configure([name, "mtu", str(mtu), "up"])
    own = []
    for address in addresses:
        if isinstance(address, IPv4Interface):
            peer = next(each for each in address.network.hosts() if each != address.ip)
            netmask = ["netmask", "255.255.255.255"]
            kernel.configure([name, "inet", str(address.ip), str(peer), *netmask])
            own.append(address.ip.packed)
        else:
            kernel.configure([name, "inet6", str(address.ip), "prefixlen", str(PREFIX_V6)])
    return own
