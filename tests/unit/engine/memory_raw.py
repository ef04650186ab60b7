"""Raw and packet sockets in memory: they record what is sent by them."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from router.platform.base.descriptors import Bytes
from router.policy.network import Interface
from router.wire.headers import fill_in_v4_checksum


class Sent(NamedTuple):
    """A packet, by which interface, from which address the socket is, and to where it was sent."""

    packet: bytes
    interface: str
    source: str
    destination: str


class MemoryRawSocket:
    """errors: raised by the next sends, in order; None lets one through."""

    def __init__(self, all_sent: list[Sent], interface: str, source: str) -> None:
        self.errors: list[int | None] = []
        self._all_sent = all_sent
        self._interface = interface
        self._source = source
        self.connected: tuple[str, int] | None = None

    def connect(self, address: tuple[str, int]) -> None:
        self.connected = address

    def send(self, packet: Bytes) -> int:
        assert self.connected is not None
        return self.sendto(packet, self.connected)

    def sendto(self, packet: Bytes, address: tuple[str, int]) -> int:
        code = self.errors.pop(0) if self.errors else None
        if code is not None:
            raise OSError(code, errno.errorcode[code])
        sent = bytearray(packet)
        if sent[0] >> 4 == 4:  # as the kernel does (raw(7), IP_HDRINCL)
            fill_in_v4_checksum(sent, 0, (sent[0] & 0x0F) << 2)
        self._all_sent.append(Sent(bytes(sent), self._interface, self._source, address[0]))
        return len(packet)

    def close(self) -> None:
        pass


class MemoryFrames:
    """See FrameSocket. resolved: whether the link address of the next hop is known. hop: that next
    hop."""

    def __init__(self) -> None:
        self.hop: bytes | None = b"\x0a\x00\x00\x01"
        self.sent: list[bytes] = []
        self.resolved = True

    def send(self, frame: memoryview, size: int, destination: bytes) -> bool:
        if self.resolved:
            self.sent.append(bytes(frame[:size]))
        return self.resolved

    def send_when_resolved(self, frame: bytes | bytearray, destination: bytes) -> None:
        self.send(memoryview(frame), len(frame), destination)

    def next_hop(self, destination: bytes) -> bytes | None:
        return self.hop

    def forget_next_hops(self) -> None:
        pass

    def close(self) -> None:
        pass


class MemoryRawSockets:
    """The part of Sockets that the direct path needs. late: whether nothing is to be expected.
    has_frames: whether there are sockets for frames."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.by_source: dict[str, MemoryRawSocket] = {}
        self.frames = MemoryFrames()
        self.has_frames = True
        self.late = False
        self.error: OSError | None = None
        self.replies_at_once = True
        self.replies: deque[Callable[[], None]] = deque()

    def raw_socket(
        self, version: int, interface: Interface, address: str, done: Callable[[Any], None]
    ) -> None:
        if self.late:
            raise BlockingIOError
        made = MemoryRawSocket(self.sent, interface.name, address)
        self.by_source[address] = made
        self._reply(partial(done, self.error or made))

    def frame_socket(
        self, version: int, interface: Interface, source: bytes, done: Callable[[Any], None]
    ) -> None:
        self._reply(partial(done, self.frames if self.has_frames else None))

    def reply(self) -> None:
        """All that was requested is open."""
        while self.replies:
            self.replies.popleft()()

    def _reply(self, reply: Callable[[], None]) -> None:
        self.replies.append(reply)
        if self.replies_at_once:
            self.reply()
