"""The kernel's part of counting answers: maps, a program, and a packet socket for each interface
(packet(7), bpf(2)).

The sockets are for all protocols, although they look at two: the kernel shows a packet to sockets
for all protocols first, and then gives it to IP as its only owner. A socket for one protocol comes
after IP, which gets a copy of the packet's description then: an allocation for each packet, and TCP
can join no segments in its receive queue.

Always true: nothing is visible to other programs but the sockets, and nothing outlives the process;
a prefix that stays is counted without a gap.

Must not know: what numbers and counters stand for.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from struct import Struct, pack
from typing import Final

from router.platform.base.answers import NumberedPrefix, Place
from router.platform.linux.bpf import syscall
from router.platform.linux.bpf.answers import FAMILY, Maps, program
from router.platform.linux.bpf.instructions import assemble
from router.platform.linux.only_on_linux import AF_PACKET

ALL_PROTOCOLS: Final = 0x0003
"""ETH_P_ALL (linux/if_ether.h)."""
SOL_PACKET: Final = 263
PACKET_IGNORE_OUTGOING: Final = 23
"""linux/if_packet.h: without it each packet that leaves is copied for the socket."""
MOST_PREFIXES: Final = 100_000
"""Of a family."""
MOST_PLACES: Final = 4096
MOST_NUMBERS: Final = 4096
"""Bounds of the maps; those of hash and trie take memory only for what is in them."""
NUMBER: Final = Struct("=I")
COUNTER: Final = Struct("=QQ")
"""Packets and bytes."""


class AnswerFilters:
    """Of one router. counters: the descriptor of a map of MOST_NUMBERS times COUNTER, which can be
    mapped into memory. Raises OSError where the kernel has no such thing, or refuses it."""

    def __init__(self) -> None:
        self._places: set[Place] = set()
        self._sockets: dict[int, socket.socket] = {}
        with contextlib.ExitStack() as stack:
            self.counters = _owned(
                stack,
                syscall.create_map(
                    *(syscall.ARRAY, NUMBER.size, COUNTER.size, MOST_NUMBERS), syscall.MMAPABLE
                ),
            )
            self._maps = {version: _maps(stack, version, self.counters) for version in FAMILY}
            self._program = _owned(stack, syscall.load_filter(assemble(program(self._maps))))
            self._stack = stack.pop_all()

    def change(
        self,
        added: Iterable[NumberedPrefix],
        removed: Iterable[NumberedPrefix],
        places: Iterable[Place],
    ) -> None:
        """The places are all of them. Prefixes that get another number are among the added ones
        alone. Raises OSError."""
        for prefix in removed:
            syscall.delete(self._maps[prefix.version].numbers, prefix_key(prefix))
        self._follow(set(places))
        elements: dict[int, list[tuple[bytes, bytes]]] = {version: [] for version in self._maps}
        for prefix in added:
            elements[prefix.version].append((prefix_key(prefix), NUMBER.pack(prefix.number)))
        for version, maps in self._maps.items():
            syscall.update_all(maps.numbers, elements[version])

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()
        self._stack.close()

    def _follow(self, places: set[Place]) -> None:
        for place in self._places - places:
            syscall.delete(self._maps[_version(place)].places, place_key(place))
            self._places.discard(place)
        for place in places - self._places:
            counter = NUMBER.pack(place.counter)
            syscall.update(self._maps[_version(place)].places, place_key(place), counter)
            self._places.add(place)
        wanted = {place.interface_index: place.interface_name for place in places}
        for index in self._sockets.keys() - wanted.keys():
            self._sockets.pop(index).close()
        for index, interface in wanted.items():
            if index not in self._sockets:
                self._open(index, interface)

    def _open(self, index: int, interface: str) -> None:
        """An interface that is gone, or has come back as another one, gets none: that is reported,
        and then followed."""
        sock = socket.socket(AF_PACKET, socket.SOCK_DGRAM, 0)
        try:
            syscall.attach(sock, self._program)
            sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            sock.bind((interface, ALL_PROTOCOLS))
            is_it = socket.if_nametoindex(interface) == index
        except OSError:
            is_it = False
        if is_it:
            self._sockets[index] = sock
        else:
            sock.close()


def prefix_key(prefix: NumberedPrefix) -> bytes:
    """As the program has it at PREFIX (struct bpf_lpm_trie_key)."""
    size = FAMILY[prefix.version].address
    return NUMBER.pack(prefix.length) + prefix.first.to_bytes(size, "big")


def place_key(place: Place) -> bytes:
    """As the program has it at PLACE."""
    return pack("=II", place.interface_index, place.number) + ip_address(place.address).packed


def allow_memory() -> None:
    """Before Linux 5.11 the memory of maps counts as locked memory."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(
            resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )


def _maps(stack: contextlib.ExitStack, version: int, counters: int) -> Maps:
    address = FAMILY[version].address
    numbers = _owned(
        stack,
        syscall.create_map(
            *(syscall.LPM_TRIE, NUMBER.size + address, NUMBER.size, MOST_PREFIXES),
            syscall.NO_PREALLOC,
        ),
    )
    places = _owned(
        stack,
        syscall.create_map(
            *(syscall.HASH, 2 * NUMBER.size + address, NUMBER.size, MOST_PLACES),
            syscall.NO_PREALLOC,
        ),
    )
    return Maps(numbers, places, counters)


def _owned(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor


def _version(place: Place) -> int:
    return ip_address(place.address).version
