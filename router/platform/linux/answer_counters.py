"""The kernel's part of counting answers: maps, and a program at each interface (bpf(2)).

Always true: nothing outlives the process; a prefix that stays is counted without a gap.

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
from router.platform.linux.answer_programs import AnswerPrograms, Detach
from router.platform.linux.bpf import syscall
from router.platform.linux.bpf.answers import FAMILY, Maps

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
        self._attached: dict[int, Detach] = {}
        """By the index of the interface."""
        with contextlib.ExitStack() as stack:
            self.counters = _owned(
                stack,
                syscall.create_map(
                    *(syscall.ARRAY, NUMBER.size, COUNTER.size, MOST_NUMBERS), syscall.MMAPABLE
                ),
            )
            self._maps = {version: _maps(stack, version, self.counters) for version in FAMILY}
            self._programs = AnswerPrograms(self._maps)
            stack.callback(self._programs.close)
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
        for detach in self._attached.values():
            detach()
        self._attached.clear()
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
        for index in self._attached.keys() - wanted.keys():
            self._attached.pop(index)()
        for index, interface in wanted.items():
            if index not in self._attached:
                self._attach(index, interface)

    def _attach(self, index: int, interface: str) -> None:
        """An interface that is gone, or has come back as another one, gets none: that is reported,
        and then followed."""
        detach = self._programs.attach(index, interface)
        if detach is None:
            return
        if _index_of(interface) == index:
            self._attached[index] = detach
        else:
            detach()


def prefix_key(prefix: NumberedPrefix) -> bytes:
    """As a program makes it (struct bpf_lpm_trie_key)."""
    size = FAMILY[prefix.version].address
    return NUMBER.pack(prefix.length) + prefix.first.to_bytes(size, "big")


def place_key(place: Place) -> bytes:
    """As a program makes it."""
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


def _index_of(interface: str) -> int | None:
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return None


def _version(place: Place) -> int:
    return ip_address(place.address).version
