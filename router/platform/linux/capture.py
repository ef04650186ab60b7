"""Packets that come in by interfaces other than the TUN, copied by a packet socket (packet(7)) with
a filter of the kernel, for `tunrouter trace`.

Always true: only what the filter lets pass is copied (see capture_filter), into memory that is
shared with this process; what is not read costs no more. Without an interface nothing is captured,
and the system hands the socket no packet.

Must not know: rules, flows.
"""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Collection, Iterator
from struct import Struct
from typing import Final

from router.flows.trace.words import Tree
from router.platform.base.capture import Captured
from router.platform.base.errors import PlatformError
from router.platform.linux.capture_filter import program
from router.platform.linux.only_on_linux import AF_PACKET
from router.platform.linux.packet_ring import SOL_PACKET, PacketRing

ETH_P_ALL: Final = 0x0003
SO_ATTACH_FILTER: Final = 26
PACKET_IGNORE_OUTGOING: Final = 23
"""Since Linux 4.20: what leaves is not copied for this socket to refuse it."""

_ADDRESS: Final = Struct("=HH16x")
"""struct sockaddr_ll: family, protocol; the rest is zero."""
_PROGRAM: Final = Struct("@HP")
_SIZE: Final = 8
"""Bytes of an instruction."""


class PacketCapture:
    """Copies what comes in, and may match. not_by: the index of the interface whose packets are
    left out. Raises PlatformError where it is not allowed, OSError."""

    def __init__(self, not_by: int, tree: Tree) -> None:
        self._not_by = not_by
        self._tree = tree
        self._is_bound = False
        try:
            self._socket = socket.socket(AF_PACKET, socket.SOCK_DGRAM, 0)
        except PermissionError as error:
            raise PlatformError(
                "capturing needs the rights of root (CAP_NET_RAW): put sudo before the command"
            ) from error
        try:
            self._socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            self._ring = PacketRing(self._socket)
        except OSError:
            self._socket.close()
            raise

    def only_by(self, interfaces: Collection[int] | None) -> None:
        """See Capture. It needs no rights."""
        attach_filter(self._socket, program(self._not_by, interfaces, self._tree))
        if not self._is_bound and (interfaces is None or interfaces):
            _bind_to_all(self._socket)
            self._is_bound = True

    def read(self) -> Iterator[Captured]:
        """See Capture."""
        return self._ring.read()

    def discard(self, before: float) -> None:
        """See Capture."""
        self._ring.discard(before)

    def close(self) -> None:
        self._ring.close()
        self._socket.close()


def _bind_to_all(sock: socket.socket) -> None:
    """To any interface, which has no name that socket.bind takes. Raises OSError."""
    address = _ADDRESS.pack(AF_PACKET, socket.htons(ETH_P_ALL))
    if ctypes.CDLL(None, use_errno=True).bind(sock.fileno(), address, len(address)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def attach_filter(sock: socket.socket, instructions: bytes) -> None:
    """struct sock_fprog. Raises OSError."""
    memory = ctypes.create_string_buffer(instructions)
    filled = _PROGRAM.pack(len(instructions) // _SIZE, ctypes.addressof(memory))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filled)
