"""Sending frames with a virtio-net header by a packet socket (packet(7), PACKET_VNET_HDR).

Always true: a frame leaves by the interface of the socket, to the next hop that the kernel names
for its destination; a next hop, and the interface's own link address, is asked for once, and again
after `forget_next_hops`. What waits for a next hop does so for PATIENCE at most.

Must not know: which frames may leave this way.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections import OrderedDict
from collections.abc import Callable
from fcntl import ioctl
from struct import Struct, pack
from typing import Final, NamedTuple

from router.platform.base.errors import PlatformError
from router.platform.linux.netlink.neighbours import link_address
from router.platform.linux.netlink.route_lookup import Answer, RouteLookup
from router.wire import offload

SIOCGIFHWADDR: Final = 0x8927
HARDWARE: Final = Struct("16sH6s8x")
"""struct ifreq (linux/if.h): name; type (ARPHRD_...) and link address."""
ARPHRD_ETHER: Final = 1
ARPHRD_NONE: Final = 0xFFFE
ETHERTYPE: Final = {4: 0x0800, 6: 0x86DD}
ETHERNET_HEADER: Final = 14
MOST_NEXT_HOPS: Final = 4096
"""Destinations that are remembered."""
MOST_HEADS: Final = 4096
"""Combinations of a virtio-net header and a destination that are remembered."""
MOST_WAITING: Final = 64
"""Frames."""
LARGEST_FIELD: Final = 0xFFFF
PATIENCE: Final = 3.0
"""Seconds: the kernel asks a neighbour three times, once a second (arp(7), mcast_solicit)."""

Resolve = Callable[[int, bytes], None]
"""Has the system resolve a neighbour by an interface. Raises OSError, PlatformError."""


class Waiting(NamedTuple):
    """A frame whose next hop is not known yet, until when, in seconds of time.monotonic."""

    frame: bytes
    destination: bytes
    until: float


class Link(NamedTuple):
    """How packets stand on a link. address: of the interface itself, 6 bytes."""

    has_header: bool
    address: bytes


def link_of(interface: str) -> Link | None:
    """None where the link needs another header than Ethernet's or none, or is gone."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            answer = ioctl(sock, SIOCGIFHWADDR, HARDWARE.pack(interface.encode(), 0, b""))
        except OSError:
            return None
    _, kind, address = HARDWARE.unpack(answer)
    return Link(kind == ARPHRD_ETHER, address) if kind in (ARPHRD_ETHER, ARPHRD_NONE) else None


def present_link(index: int) -> Link | None:
    """That of an interface, whatever its name is now; None if it is gone."""
    try:
        return link_of(socket.if_indextoname(index))
    except OSError:
        return None


class LinuxFrameSocket:
    """See FrameSocket. sock: as the guard opens it. index: of the interface. source: the address
    that all frames come from, 4 or 16 bytes."""

    def __init__(
        self,
        sock: socket.socket,
        version: int,
        index: int,
        source: bytes,
        link: Link,
        resolve: Resolve,
    ) -> None:
        self._socket = sock
        self._descriptor = sock.fileno()
        self._version = version
        self._index = index
        self._source = source
        self._link = link
        self._lookup = RouteLookup()
        self._resolve = resolve
        self._headers: OrderedDict[bytes, bytes] = OrderedDict()
        self._heads: dict[bytes, bytes] = {}
        self._waiting: list[Waiting] = []

    def send(self, frame: memoryview, size: int, destination: bytes) -> bool:
        if not self._link.has_header:
            os.write(self._descriptor, frame[:size])
            return True
        fields = frame[: offload.HEADER].tobytes()
        head = self._heads.get(fields + destination) or self._head(fields, destination)
        if not head:
            return False
        os.writev(self._descriptor, (head, frame[offload.HEADER : size]))
        return True

    def send_when_resolved(self, frame: bytes | bytearray, destination: bytes) -> None:
        if self.send(memoryview(frame), len(frame), destination):
            return
        if len(self._waiting) < MOST_WAITING:
            until = time.monotonic() + PATIENCE
            self._waiting.append(Waiting(bytes(frame), destination, until))
        hop = self.next_hop(destination)
        if hop is not None:
            with contextlib.suppress(PlatformError):
                self._resolve(self._index, hop)

    def next_hop(self, destination: bytes) -> bytes | None:
        answer = self._ask(destination, self._source)
        if answer is None or answer.interface != self._index:
            # IPv6 takes the interface for a hint where a source is given (ip6_route_output_flags).
            answer = self._ask(destination, None)
        if answer is None or answer.interface != self._index:
            return None
        return answer.gateway or destination

    def forget_next_hops(self) -> None:
        self._headers.clear()
        self._heads.clear()
        if self._link.has_header:
            self._link = present_link(self._index) or self._link
        waiting, self._waiting = self._waiting, []
        now = time.monotonic()
        for each in waiting:
            with contextlib.suppress(OSError):
                frame = memoryview(each.frame)
                if not self.send(frame, len(frame), each.destination) and now < each.until:
                    self._waiting.append(each)

    def close(self) -> None:
        self._socket.close()
        self._lookup.close()

    def _head(self, fields: bytes, destination: bytes) -> bytes:
        """What stands before a packet with this virtio-net header to a destination: the same with a
        link header, which is part of the headers there. Empty while that is unknown, or where it
        does not fit into a field."""
        header = self._headers.get(destination) or self._find(destination)
        flags, kind, length, segment, start, offset = offload.FIELDS.unpack(fields)
        length, start = length + ETHERNET_HEADER, start + ETHERNET_HEADER
        if not header or max(length, start) > LARGEST_FIELD:
            return b""
        if len(self._heads) >= MOST_HEADS:
            self._heads.clear()
        head = offload.FIELDS.pack(flags, kind, length, segment, start, offset) + header
        self._heads[fields + destination] = head
        return head

    def _find(self, destination: bytes) -> bytes:
        """The link header of packets to a destination; empty while it is unknown."""
        hop = self.next_hop(destination)
        found = None if hop is None else link_address(self._index, hop)
        if found is None or len(found) != len(self._link.address):
            return b""
        if len(self._headers) >= MOST_NEXT_HOPS:
            self._headers.popitem(last=False)
        header = found + self._link.address + pack("!H", ETHERTYPE[self._version])
        self._headers[destination] = header
        return header

    def _ask(self, destination: bytes, source: bytes | None) -> Answer | None:
        return self._lookup.ask(self._version, destination, oif=self._index, source=source)
