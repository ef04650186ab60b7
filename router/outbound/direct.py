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
from functools import partial
from typing import Final

from router.outbound.local_addresses import LocalAddresses
from router.platform.base.descriptors import Bytes
from router.platform.base.errors import PlatformError
from router.platform.base.sockets import FrameSocket, Sockets
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

    def connect(self, address: tuple[str, int]) -> Callable[[Bytes], int] | None:
        """Choose the one destination that need not be named: what sends to it, as `send`, until the
        next one is chosen. None where there is no way to it at present."""
        try:
            self._socket.connect(address)
        except OSError:
            return None
        return self._socket.send

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


class NotOpenYet(Exception):
    """The sender of a source address is being opened."""

    def __init__(self, source: bytes) -> None:
        self.source = source


class SenderOpening:
    """The sockets of a sender, opened one after the other without waiting.

    done: called with the sender, or with None after an error; not after `abandon`.
    """

    def __init__(
        self,
        sockets: Sockets,
        interface: Interface,
        source: bytes,
        done: Callable[[DirectSender | None], None],
    ) -> None:
        self.interface = interface
        self.error: Exception | None = None
        self._sockets = sockets
        self._source = source
        self._version = 4 if len(source) == 4 else 6
        self._done = done
        self._is_abandoned = False

    def begin(self) -> None:
        """Raises OSError, PlatformError."""
        address = ip.format_address(self._source)
        self._sockets.raw_socket(self._version, self.interface, address, self._has_raw)

    def abandon(self) -> None:
        """What is opened from now on is closed."""
        self._is_abandoned = True

    def _has_raw(self, raw: socket.socket | Exception) -> None:
        if isinstance(raw, Exception):
            self._fail(raw)
            return
        done = partial(self._has_frames, raw)
        try:
            self._sockets.frame_socket(self._version, self.interface, self._source, done)
        except (OSError, PlatformError) as error:
            raw.close()
            self._fail(error)

    def _has_frames(self, raw: socket.socket, frames: FrameSocket | Exception | None) -> None:
        if isinstance(frames, Exception):
            raw.close()
            self._fail(frames)
            return
        sender = DirectSender(self.interface, raw, frames)
        if self._is_abandoned:
            sender.close()
        else:
            self._done(sender)

    def _fail(self, error: Exception) -> None:
        self.error = error
        if not self._is_abandoned:
            self._done(None)


def _follows(sender: DirectSender | SenderOpening, now: Interface | None) -> bool:
    """Have it know the interface that its address is at; whether that is the one of its sockets."""
    if now is None or now.index != sender.interface.index:
        return False
    sender.interface = now
    return True


class DirectSenders:
    """Those of all local addresses, opened by `prepare` or when they are first needed.

    addresses: of this machine; their owner keeps them up to date. opened: called with a source of
    which `sender` has raised NotOpenYet, when it does so no more.
    """

    def __init__(self, system: System, addresses: LocalAddresses) -> None:
        self._system = system
        self._addresses = addresses
        self._senders: dict[bytes, DirectSender] = {}
        self._opening: dict[bytes, SenderOpening] = {}
        self.opened: Callable[[bytes], None] = lambda _: None
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

    def indices(self, wanted: Callable[[bytes], bool]) -> set[int]:
        """Those of the interfaces that have an address of which something is true."""
        owners = self._addresses.owners
        return {interface.index for source, interface in owners.items() if wanted(source)}

    def sender(self, source: bytes) -> DirectSender:
        """Of an address that is one of `owns`. Raises OSError, PlatformError, NotOpenYet."""
        found = self._senders.get(source)
        return self._opened(source) if found is None else found

    def prepare(self, names: Container[str]) -> None:
        """Open the senders of all addresses of some interfaces, before a packet needs them; what
        cannot be opened is tried again with the first packet."""
        for source, interface in self._addresses.owners.items():
            if interface.name in names and not source.startswith(LINK_LOCAL):
                with contextlib.suppress(OSError, PlatformError, NotOpenYet):
                    self.sender(source)

    def leaving_by(self, names: Container[str], version: int) -> DirectSender | None:
        """One that leaves by one of these interfaces, for packets that have another source; None
        where they have no address of the family. Raises OSError, PlatformError, NotOpenYet."""
        size = 4 if version == 4 else 16
        for source, interface in self._addresses.owners.items():
            if interface.name in names and len(source) == size:
                return self.sender(source)
        return None

    def send(self, packet: ip.Packet) -> None:
        """Send a packet whose source is one of `owns`. Raises OSError, PlatformError,
        NotOpenYet."""
        self.sender(packet.source).send_packet(packet)

    def refresh(self) -> None:
        """Addresses, interfaces or next hops may have changed: close the senders whose address is
        not at their interface any more. What else there is of an interface, its name and its MTU,
        the others follow without being opened again, as packets would have to wait for that."""
        owners: Mapping[bytes, Interface] = self._addresses.owners
        for source, sender in list(self._senders.items()):
            if not _follows(sender, owners.get(source)):
                self._senders.pop(source).close()
        for source, opening in list(self._opening.items()):
            if not _follows(opening, owners.get(source)):
                self._opening.pop(source).abandon()
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
        for opening in self._opening.values():
            opening.abandon()
        self._opening.clear()

    def _opened(self, source: bytes) -> DirectSender:
        """See `sender`, for one that has not been opened."""
        opening = self._opening.get(source)
        if opening is None:
            interface = self._addresses.owners.get(source)
            if interface is None:
                raise NO_INTERFACE
            sockets = self._system.sockets
            opening = SenderOpening(sockets, interface, source, partial(self._has_opened, source))
            self._opening[source] = opening
            try:
                opening.begin()
            except (OSError, PlatformError):
                del self._opening[source]
                raise
        if source in self._senders:
            return self._senders[source]
        if opening.error is None:
            raise NotOpenYet(source)
        del self._opening[source]
        raise opening.error

    def _has_opened(self, source: bytes, sender: DirectSender | None) -> None:
        """None: it has failed, which the next `sender` raises."""
        if sender is not None:
            del self._opening[source]
            self._senders[source] = sender
        self.opened(source)
