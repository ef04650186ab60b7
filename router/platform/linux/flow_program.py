"""The kernel's part of carrying packets of flows: maps, and a program at the TUN (bpf(2), tcx).

Always true: nothing outlives the process; what is in a map is never changed, only added and
removed, so no packet meets half an entry.

Must not know: what the flows are.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Iterable
from struct import Struct
from typing import Final

from router.platform.base.flow_offload import Forwarding, Translation
from router.platform.linux.bpf import syscall
from router.platform.linux.bpf.flow_maps import (
    ANY,
    AT_INTERFACE,
    FAMILY,
    REST,
    SLOT,
    Maps,
    value_size,
)
from router.platform.linux.bpf.flows import program
from router.platform.linux.bpf.instructions import assemble
from router.wire import ip

MOST_FLOWS: Final = 1024
DIRECTIONS: Final = 2
NUMBER: Final = Struct("=I")
PORTS: Final = 4
NEXT_HOP_FAMILY: Final = {4: socket.AF_INET, 16: socket.AF_INET6}
"""By the size of an address."""


class FlowProgram:
    """At the interface of an index. slots: the descriptor of the array, which can be mapped into
    memory. Raises OSError where the kernel has no such thing (before Linux 6.6), or refuses it."""

    def __init__(self, interface: int) -> None:
        with contextlib.ExitStack() as stack:
            self.slots = _owned(
                stack,
                syscall.create_map(
                    *(syscall.ARRAY, NUMBER.size, SLOT.size, DIRECTIONS * MOST_FLOWS),
                    syscall.MMAPABLE,
                ),
            )
            self._flows = {version: _owned(stack, _flows(version)) for version in FAMILY}
            code = assemble(program(Maps(self._flows, self.slots)))
            loaded = syscall.load_filter(code, syscall.SCHEDULING)
            stack.callback(os.close, loaded)
            stack.callback(os.close, syscall.link(loaded, interface, syscall.TCX_EGRESS))
            self._stack = stack.pop_all()

    def add(self, version: int, elements: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises OSError."""
        for key, value in elements:
            syscall.update(self._flows[version], key, value)

    def remove(self, version: int, keys: Iterable[bytes]) -> None:
        """Also those that are not there. Raises OSError."""
        for key in keys:
            with contextlib.suppress(FileNotFoundError):
                syscall.delete(self._flows[version], key)

    def close(self) -> None:
        self._stack.close()


def key(part: Translation | Forwarding) -> bytes:
    """What packets have: addresses, ports, and the protocol."""
    if isinstance(part, Forwarding):
        return part.ends + NUMBER.pack(part.protocol)
    return part.old + NUMBER.pack(ip.TCP)


def value(part: Translation | Forwarding, slot: int, generation: int) -> bytes:
    """What to do with packets, as the program reads it."""
    if isinstance(part, Forwarding):
        hop = NEXT_HOP_FAMILY[len(part.next_hop)], part.next_hop
        return part.ends + REST.pack(0, 0, slot, generation, ANY, part.interface, part.mtu, *hop)
    old, new, dscp = part
    addresses = _change(old[:-PORTS], new[:-PORTS])
    ports = _change(old[-PORTS:], new[-PORTS:])
    wanted = ANY if dscp is None else dscp
    return new + REST.pack(addresses, ports, slot, generation, wanted, 0, 0, 0, b"")


def interface_of(some_value: bytes) -> int | None:
    """The index of the interface that packets are forwarded by; None if they are translated."""
    at = len(some_value) - REST.size + AT_INTERFACE
    return NUMBER.unpack_from(some_value, at)[0] or None


def _change(old: bytes, new: bytes) -> int:
    """What to add to a ones' complement sum in which `old` is replaced by `new`. The kernel sums up
    words in the order of the machine."""
    order = sys.byteorder
    return (int.from_bytes(new, order) - int.from_bytes(old, order)) % 0xFFFF or 0xFFFF


def _flows(version: int) -> int:
    return syscall.create_map(
        *(syscall.HASH, FAMILY[version].key_size, value_size(version)),
        *(2 * DIRECTIONS * MOST_FLOWS, syscall.NO_PREALLOC),
    )


def _owned(stack: contextlib.ExitStack, descriptor: int) -> int:
    stack.callback(os.close, descriptor)
    return descriptor
