"""The programs that count answers, loaded and attached: at the ingress of an interface (tcx, Linux
6.6), or at a packet socket (packet(7)) where that is refused.

At the ingress a program comes before those that are there, as each of them may end the sequence.

The sockets are for all protocols, although they look at two: the kernel shows a packet to sockets
for all protocols first, and then gives it to IP as its only owner. A socket for one protocol comes
after IP, which gets a copy of the packet's description then: an allocation for each packet, and TCP
can join no segments in its receive queue.

Always true: nothing is attached longer than the process lasts.

Must not know: what is counted.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Final

from router.platform.linux.bpf import syscall
from router.platform.linux.bpf.answers import INGRESS, SOCKET, Maps, Position, program
from router.platform.linux.bpf.instructions import assemble
from router.platform.linux.only_on_linux import AF_PACKET

ALL_PROTOCOLS: Final = 0x0003
"""ETH_P_ALL (linux/if_ether.h)."""
SOL_PACKET: Final = 263
PACKET_IGNORE_OUTGOING: Final = 23
"""linux/if_packet.h: without it each packet that leaves is copied for the socket."""

Detach = Callable[[], None]


class AnswerPrograms:
    """maps: by IP version. A program is loaded when it is needed. Raises OSError where the kernel
    refuses both."""

    def __init__(self, maps: Mapping[int, Maps]) -> None:
        self._maps = maps
        self._loaded: dict[Position, int] = {}
        try:
            self._load(INGRESS, syscall.SCHEDULING)
        except OSError:
            self._load(SOCKET, syscall.SOCKET_FILTER)

    def attach(self, index: int, interface: str) -> Detach | None:
        """To an interface, until what this returns is called; None if it is gone. Raises OSError
        where the kernel refuses the program."""
        return self._attach_to_ingress(index) or self._attach_to_socket(interface)

    def close(self) -> None:
        for loaded in self._loaded.values():
            os.close(loaded)
        self._loaded.clear()

    def _attach_to_ingress(self, index: int) -> Detach | None:
        if INGRESS in self._loaded:
            for flags in (syscall.BEFORE, 0):
                with suppress(OSError):
                    where = syscall.TCX_INGRESS
                    link = syscall.link(self._loaded[INGRESS], index, where, flags)
                    return partial(os.close, link)
        return None

    def _attach_to_socket(self, interface: str) -> Detach | None:
        if SOCKET not in self._loaded:
            self._load(SOCKET, syscall.SOCKET_FILTER)
        sock = socket.socket(AF_PACKET, socket.SOCK_DGRAM, 0)
        try:
            syscall.attach(sock, self._loaded[SOCKET])
            sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            sock.bind((interface, ALL_PROTOCOLS))
        except OSError:
            sock.close()
            return None
        return sock.close

    def _load(self, position: Position, kind: int) -> None:
        self._loaded[position] = syscall.load_filter(assemble(program(self._maps, position)), kind)
