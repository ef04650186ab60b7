"""Translation of addresses and ports of TCP segments, with checksums adjusted (RFC 1624).

A Rewrite is made once for each flow and direction; a segment costs two slices and two sums.

The checksum of a frame that is marked NEEDS_CHECKSUM is the *uncomplemented* sum of the
pseudo-header, so only the addresses count in it. Of any other it is the complement of the sum of
everything, so addresses and ports count; a field that was wrong stays wrong by as much.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, Generic, TypeVar

from router.wire import offload
from router.wire.checksum import ones_complement_sum
from router.wire.headers import PORTS, TCP_CHECKSUM

_FIELD: Final = Struct("!H")

Owner = TypeVar("Owner")


class Rewrite(Generic[Owner]):
    """The translation of the segments of one direction of a flow.

    owner: the flow.
    outward: whether the segments go to the application, not to a listener of ours.
    addresses, ports: new source and destination, as they stand in the headers.
    """

    __slots__ = (
        "_addresses",
        "_addresses_at",
        "_all_change",
        "_header_change",
        "_ports",
        "outward",
        "owner",
    )

    def __init__(self, owner: Owner, outward: bool, old: bytes, new: bytes) -> None:
        """old, new: source, destination and both ports: 12 bytes for IPv4, 36 for IPv6."""
        self.owner = owner
        self.outward = outward
        self._addresses = new[:-PORTS]
        self._ports = new[-PORTS:]
        self._addresses_at = offload.AT_V4_ADDRESSES if len(new) == 12 else offload.AT_V6_ADDRESSES
        self._header_change = _change(old[:-PORTS], new[:-PORTS])
        self._all_change = _change(old, new)

    def apply(self, frame: bytearray, start: int) -> None:
        """Rewrite a frame in place. `start` is where in it TCP begins."""
        at = self._addresses_at
        frame[at : at + len(self._addresses)] = self._addresses
        frame[start : start + PORTS] = self._ports
        at = start + TCP_CHECKSUM
        field = frame[at] << 8 | frame[at + 1]
        if frame[0] & offload.NEEDS_CHECKSUM:
            field = (field + self._header_change) % 0xFFFF or 0xFFFF
        else:
            field = (((field ^ 0xFFFF) + self._all_change) % 0xFFFF or 0xFFFF) ^ 0xFFFF
        _FIELD.pack_into(frame, at, field)
        if len(self._addresses) == 8:
            at = offload.AT_V4_CHECKSUM
            field = (frame[at] << 8 | frame[at + 1]) ^ 0xFFFF
            field = ((field + self._header_change) % 0xFFFF or 0xFFFF) ^ 0xFFFF
            _FIELD.pack_into(frame, at, field)


def _change(old: bytes, new: bytes) -> int:
    """The number to add to a ones' complement sum in which `old` is replaced by `new`; never zero,
    so that no sum becomes +0, the sum of zeros alone."""
    difference = ones_complement_sum(new) - ones_complement_sum(old)
    return difference % 0xFFFF or 0xFFFF
