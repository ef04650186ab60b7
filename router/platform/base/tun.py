"""The TUN device."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv6Interface
from typing import Protocol

from router.platform.base.descriptors import Bytes
from router.platform.base.flow_offload import FlowOffload


class TunQueue(Protocol):
    """Packets that wait to be read."""

    def fileno(self) -> int: ...

    def receive(self) -> int:
        """Read the next frame into the TUN's own; its length, header included.

        Raises BlockingIOError when there is none, OSError when the device is gone.
        """
        ...


class TunDevice(TunQueue, Protocol):
    """An open TUN device. Closing it removes it, its addresses and its routes.

    It is itself the queue of what programs of this machine send.

    forwarded: the queue of what the system forwards for others, so that a flood of that takes no
    room from the rest; None where the system has one queue for both.
    frame: where `receive` stores what it reads, and what `send` sends: a header that describes the
    checksum and segmentation that the system left undone, and a packet; see router.wire.offload.
    offloads: whether the system takes frames with checksum or segmentation undone.
    flow_offload: carries packets of flows in the system; None where that has no such thing.
    """

    name: str
    index: int
    mtu: int
    frame: bytearray
    offloads: bool
    flow_offload: FlowOffload | None
    forwarded: TunQueue | None

    def send(self, size: int) -> None:
        """Write the first `size` bytes of the frame. Raises like `receive`."""
        ...

    def write(self, packet: bytes | bytearray) -> None:
        """Write a packet that is complete. Raises likewise."""
        ...

    def write_parts(self, parts: Sequence[Bytes]) -> None:
        """Write a frame, header included, that consists of `parts`. Raises likewise."""
        ...

    def close(self) -> None: ...


class Tuns(Protocol):
    """Opens the TUN device."""

    def open_tun(
        self, name: str | None, mtu: int, addresses: Sequence[IPv4Interface | IPv6Interface]
    ) -> TunDevice:
        """The one TUN device, with its addresses, up.

        name: None leaves it to the system. mtu: bytes. Raises PlatformError, which names the
        process that holds the name or an address, if one does.
        """
        ...
