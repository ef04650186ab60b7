"""The TUN device (linux/if_tun.h, Documentation/networking/tuntap.rst).

The device lives as long as its descriptor: when the process ends, the kernel removes the device,
its addresses and its routes.

It has two queues where the kernel takes a program that names the queue of each packet, see
router.platform.linux.bpf.steering. Every process that may open the device file could attach a queue
of its own to a device without owner, so root owns it from the first moment on.

With a virtio-net header the kernel leaves checksums and segmentation of TCP to the process that
reads, and does them for the process that writes: one read or write moves up to 64 KB.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Sequence
from fcntl import ioctl
from functools import partial
from struct import Struct, pack
from typing import Final

from router.platform.base.descriptors import Bytes
from router.platform.base.errors import PlatformError
from router.platform.base.flow_offload import FlowOffload
from router.platform.base.tun import TunQueue
from router.platform.linux.bpf.instructions import assemble
from router.platform.linux.bpf.steering import program
from router.platform.linux.bpf.syscall import load_filter
from router.platform.linux.interface_requests import index_of
from router.platform.linux.netlink.links import get_link, parse_queues
from router.platform.linux.netlink.request import request
from router.platform.reason import remedy
from router.wire import offload

DEVICE: Final = "/dev/net/tun"
TUNSETIFF: Final = 0x400454CA
IFF_TUN: Final = 0x0001
IFF_NO_PI: Final = 0x1000
IFF_VNET_HDR: Final = 0x4000
IFF_MULTI_QUEUE: Final = 0x0100
TUNSETOWNER: Final = 0x400454CC
TUNSETSTEERINGEBPF: Final = 0x800454E0
TUNSETOFFLOAD: Final = 0x400454D0
TUNSETVNETHDRSZ: Final = 0x400454D8
TUN_F_CSUM: Final = 0x01
TUN_F_TSO4: Final = 0x02
TUN_F_TSO6: Final = 0x04
TUN_F_TSO_ECN: Final = 0x08
OFFLOADS: Final = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN
IFREQ: Final = Struct("16sH22x")
ANY_NAME: Final = "tun%d"
ROOT: Final = 0
MAX_PACKET: Final = 65535


def receiver(descriptor: int, into: list[memoryview], skipped: int) -> Callable[[], int]:
    """See TunQueue.receive. Where nothing is skipped it runs no Python of its own."""
    if not skipped:
        return partial(os.readv, descriptor, into)
    return lambda: os.readv(descriptor, into) + skipped


class LinuxTunQueue:
    """See TunQueue. What is read goes into `into`, behind `skipped` bytes of the frame."""

    def __init__(self, descriptor: int, into: list[memoryview], skipped: int) -> None:
        self._descriptor = descriptor
        self.receive = receiver(descriptor, into, skipped)

    def fileno(self) -> int:
        return self._descriptor


class LinuxTun:
    """An open TUN device; see TunDevice. `offloads`: whether frames have their header. The second
    descriptor is that of what is forwarded, if there is one."""

    def __init__(self, *descriptors: int, name: str, mtu: int, offloads: bool) -> None:
        self.name = name
        self.index = index_of(name)
        self.mtu = mtu
        self.offloads = offloads
        self.frame = bytearray(offload.HEADER + MAX_PACKET)
        self._descriptor, *others = descriptors
        self._skipped = 0 if offloads else offload.HEADER
        self._prefix = offload.NOTHING_LEFT if offloads else b""
        self._view = memoryview(self.frame)[self._skipped :]
        into = [self._view]
        self.receive = receiver(self._descriptor, into, self._skipped)
        self.flow_offload: FlowOffload | None = None
        self.forwarded: TunQueue | None = next(
            (LinuxTunQueue(other, into, self._skipped) for other in others), None
        )

    @property
    def descriptors(self) -> list[int]:
        return [each.fileno() for each in (self, self.forwarded) if each is not None]

    def fileno(self) -> int:
        return self._descriptor

    def send(self, size: int) -> None:
        os.write(self._descriptor, self._view[: size - self._skipped])

    def write(self, packet: bytes | bytearray) -> None:
        os.write(self._descriptor, self._prefix + packet)

    def write_parts(self, parts: Sequence[Bytes]) -> None:
        os.writev(self._descriptor, parts)

    def close(self) -> None:
        for descriptor in self.descriptors:
            os.close(descriptor)


def open_tun(name: str | None, mtu: int, offloads: bool) -> LinuxTun:
    """Make a TUN device, still without addresses and down.

    offloads: whether to use them where the kernel has them. Raises PlatformError.
    """
    try:
        descriptor = _open_device()
    except OSError as error:
        raise PlatformError(_why_no_device(error)) from error
    try:
        made, offloads = _make(descriptor, (name or ANY_NAME).encode(), offloads)
    except OSError as error:
        os.close(descriptor)
        raise PlatformError(_why_no_interface(error, name)) from error
    others = _add_queue(made, offloads)
    tun = LinuxTun(descriptor, *others, name=made, mtu=mtu, offloads=offloads)
    (link,) = request(get_link(tun.index))
    if parse_queues(link.body) not in (None, len(tun.descriptors)):
        tun.close()
        raise PlatformError(
            f"another process has attached itself to {made} while it was made: find what opens "
            f"{DEVICE} (fuser {DEVICE}), and start the router again"
        )
    return tun


def _open_device() -> int:
    return os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)


def _make(descriptor: int, name: bytes, offloads: bool) -> tuple[str, bool]:
    """The device's name, and whether its frames have a header. Raises OSError.

    A kernel without virtio-net headers refuses the flag (EINVAL); on one that cannot leave
    segmentation to the process, the header never requests any.
    """
    try:
        answer = ioctl(descriptor, TUNSETIFF, _interface(name, offloads))
    except OSError as error:
        if not offloads or error.errno != errno.EINVAL:
            raise
        offloads = False
        answer = ioctl(descriptor, TUNSETIFF, _interface(name, offloads))
    ioctl(descriptor, TUNSETOWNER, ROOT)
    if offloads:
        ioctl(descriptor, TUNSETVNETHDRSZ, pack("=i", offload.HEADER))
        with contextlib.suppress(OSError):
            ioctl(descriptor, TUNSETOFFLOAD, OFFLOADS)
    return IFREQ.unpack(answer)[0].rstrip(b"\0").decode(), offloads


def _interface(name: bytes, offloads: bool) -> bytes:
    flags = IFF_TUN | IFF_NO_PI | IFF_MULTI_QUEUE | (IFF_VNET_HDR if offloads else 0)
    return IFREQ.pack(name, flags)


def _add_queue(name: str, offloads: bool) -> Sequence[int]:
    """The queue of what is forwarded, attached; nothing where the kernel has no such programs."""
    with contextlib.ExitStack() as stack:
        try:
            steering = load_filter(assemble(program()))
            stack.callback(os.close, steering)  # the device keeps it
            descriptor = _open_device()
            stack.callback(os.close, descriptor)
            ioctl(descriptor, TUNSETIFF, _interface(name.encode(), offloads))
            ioctl(descriptor, TUNSETSTEERINGEBPF, pack("=i", steering))
        except OSError:
            return ()
        stack.pop_all()
        os.close(steering)
        return (descriptor,)


def _why_no_device(error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return f"{DEVICE} does not exist: load the kernel module (modprobe tun)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{DEVICE} may not be opened ({error.strerror}): in a container, pass the device in"
    return f"{DEVICE} cannot be opened: {error.strerror}: {remedy(error)}"


def _why_no_interface(error: OSError, name: str | None) -> str:
    shown = name or "a TUN device"
    if error.errno == errno.EBUSY:
        return f"{shown} is in use by another program: end it, or choose another tun name"
    if error.errno == errno.EPERM:
        return f"{shown} cannot be made ({error.strerror}): CAP_NET_ADMIN is missing, run as root"
    return f"{shown} cannot be made: {error.strerror}: {remedy(error)}"
