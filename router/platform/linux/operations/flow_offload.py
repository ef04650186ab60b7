"""Carrying packets of flows at the TUN; see router.platform.base.flow_offload."""

from __future__ import annotations

import os
from collections.abc import Sequence

from router.platform.base.errors import PlatformError
from router.platform.linux.answer_counters import allow_memory
from router.platform.linux.bpf.flow_maps import FAMILY, value_size
from router.platform.linux.flow_program import MOST_FLOWS, FlowProgram, interface_of
from router.platform.linux.operations.interface_argument import check_index
from router.platform.linux.operations.tun import TunOperations
from router.platform.privileged.arguments import invalid
from router.platform.privileged.channel import Message

MOST_RECORDS = 2 * MOST_FLOWS


class FlowOffloadOperations:
    """At the TUN."""

    def __init__(self, tun: TunOperations) -> None:
        self._tun = tun
        self._program: FlowProgram | None = None

    def offload_flows(self) -> Message:
        """Hands over the slots. Raises OSError where the kernel refuses it."""
        self._tun.opened()
        if self._program is None:
            allow_memory()
            self._program = FlowProgram(self._tun.index)
        return Message(None, [os.dup(self._program.slots)])

    def add_flows(self, version: int, records: bytes) -> Message:
        """See FlowProgram.add. records: keys with their values."""
        key = _key_size(version)
        elements = [(each[:key], each[key:]) for each in _split(records, key + value_size(version))]
        for _, value in elements:
            self._check_way_out(interface_of(value))
        self._opened().add(version, elements)
        return Message(None)

    def remove_flows(self, version: int, records: bytes) -> Message:
        """See FlowProgram.remove. records: keys."""
        self._opened().remove(version, _split(records, _key_size(version)))
        return Message(None)

    def _check_way_out(self, index: int | None) -> None:
        """The one by which packets are forwarded, if they are."""
        if index is not None:
            check_index(index)
            if index == self._tun.index:
                raise invalid("another interface than the TUN", index)

    def _opened(self) -> FlowProgram:
        if self._program is None:
            raise PlatformError("no flow is offloaded")
        return self._program


def _key_size(version: int) -> int:
    if not isinstance(version, int) or version not in FAMILY:
        raise invalid("an IP version", version)
    return FAMILY[version].key_size


def _split(records: bytes, size: int) -> Sequence[bytes]:
    if len(records) % size or len(records) > MOST_RECORDS * size:
        raise PlatformError(f"{len(records)} bytes are no records of {size} bytes")
    return [records[at : at + size] for at in range(0, len(records), size)]
