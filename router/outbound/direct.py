"""Sending packets of this machine's own addresses out unchanged, by the interface that has the
source address.

Always true: what is sent leaves by that interface, as its raw sockets are bound to it and to the
address; nothing here waits: what a slow interface does not take is refused (BlockingIOError).

Must not know: rules; what a packet is about.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable, Container, Mapping
from typing import Final

from router.outbound.local_addresses import LocalAddresses
from router.platform.base.descriptors import Bytes
from router.platform.base.errors import PlatformError
from router.platform.base.sockets import FrameSocket
from router.platform.base.system import System
from router.platform.identifications import random_identification
from router.policy.network import Interface
from router.wire import ip
from router.wire.fragments import split

LINK_LOCAL: Final = b"\xfe\x80"
NO_INTERFACE: Final = OSError(errno.ENETDOWN, "the source address is gone")


Send = Callable[[Bytes, tuple[str, int]], int]
"""See DirectSender.send."""


class DirectSender:
    """Of one source address, by the interface that has it.

    send: `send(packet, (destination, 0))`, in one piece. Raises OSError; EMSGSIZE if it is longer
    than the path MTU.
    frames: what sends frames that are yet to be cut; None where there is no such thing.
    frames_take_datagrams: whether also those of UDP, as far as it is known.
    """

    def __init__(
        self, interface: Interface, sock: socket.socket, frames: FrameSocket | None
    ) -> None:
        self.interface = interface
        self.send = sock.sendto
        self.frames = frames
        self.frames_take_datagrams = frames is not None
        self._socket = sock

    def send_packet(self, packet: ip.Packet) -> None:
        """Send a packet, in fragments where it is too long and may be fragmented. Raises
        OSError."""
        address = (ip.format_address(packet.destination), 0)
        if len(packet.data) <= self.interface.mtu or packet.dont_fragment:
            self.send(packet.data, address)
        else:
            send_fragments(self.send, packet.data, address, self.interface.mtu)

    def close(self) -> None:
        self._socket.close()
        if self.frames is not None:
            self.frames.close()


def send_fragments(
    send: Send, packet: bytes | bytearray, address: tuple[str, int], mtu: int
) -> None:
    """Send a packet that is longer than the MTU. Raises OSError."""
    for fragment in split(packet, mtu, random_identification()):
        send(fragment, address)


class DirectSenders:
    """Those of all local addresses, opened by `prepare` or when they are first needed.

    addresses: of this machine; their owner keeps them up to date.
    """

    def __init__(self, system: System, addresses: LocalAddresses) -> None:
        self._system = system
        self._addresses = addresses
        self._senders: dict[bytes, DirectSender] = {}
        self.owns = addresses.has
        """Whether a source address is that of another interface of this machine."""

    @property
    def gone(self) -> frozenset[bytes]:
        """Addresses that this machine had and has no more."""
        return self._addresses.gone

    def interface(self, source: bytes) -> str:
        """The name of the one that has an address that is one of `owns`."""
        return self._addresses.owners[source].name

    def index(self, source: bytes) -> int:
        """That of the interface that has an address that is one of `owns`."""
        return self._addresses.owners[source].index

    def sender(self, source: bytes) -> DirectSender:
        """Of an address that is one of `owns`. Raises OSError, PlatformError."""
        found = self._senders.get(source)
        if found is None:
            found = self._senders[source] = self._open(source)
        return found

    def prepare(self, names: Container[str]) -> None:
        """Open the senders of all addresses of some interfaces, so that no packet waits for it;
        what cannot be opened is tried again with the first packet."""
        for source, interface in self._addresses.owners.items():
            if interface.name in names and not source.startswith(LINK_LOCAL):
                with contextlib.suppress(OSError, PlatformError):
                    self.sender(source)

    def leaving_by(self, names: Container[str], version: int) -> DirectSender | None:
        """One that leaves by one of these interfaces, for packets that have another source; None
        where they have no address of the family. Raises OSError, PlatformError."""
        size = 4 if version == 4 else 16
        for source, interface in self._addresses.owners.items():
            if interface.name in names and len(source) == size:
                return self.sender(source)
        return None

    def send(self, packet: ip.Packet) -> None:
        """Send a packet whose source is one of `owns`. Raises OSError, PlatformError."""
        self.sender(packet.source).send_packet(packet)

    def refresh(self) -> None:
        """Addresses, interfaces or next hops may have changed: close the senders that are out of
        date."""
        owners: Mapping[bytes, Interface] = self._addresses.owners
        for source, sender in list(self._senders.items()):
            if owners.get(source) != sender.interface:
                self._senders.pop(source).close()
        self.forget_next_hops()

    def forget_next_hops(self) -> None:
        """Link addresses of neighbours may have changed."""
        for sender in self._senders.values():
            if sender.frames is not None:
                sender.frames.forget_next_hops()

    def close(self) -> None:
        for sender in self._senders.values():
            sender.close()
        self._senders.clear()

    def _open(self, source: bytes) -> DirectSender:
        interface = self._addresses.owners.get(source)
        if interface is None:
            raise NO_INTERFACE
        version = 4 if len(source) == 4 else 6
        sockets = self._system.sockets
        sock = sockets.raw_socket(version, interface, ip.format_address(source))
        try:
            return DirectSender(interface, sock, sockets.frame_socket(version, interface, source))
        except BaseException:
            sock.close()
            raise
