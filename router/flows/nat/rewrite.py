"""Translation of addresses and ports of TCP segments, with checksums adjusted (RFC 1624).

A Rewrite is made once for each flow and direction; a segment costs two sums, and where it has no
options of IPv4, as all of them, one pass over its header.

The checksum of a frame that is marked NEEDS_CHECKSUM is the *uncomplemented* sum of the
pseudo-header, so only the addresses count in it. Of any other it is the complement of the sum of
everything, so addresses and ports count; a field that was wrong stays wrong by as much. What is
added to a ones' complement sum is subtracted from its complement, modulo 0xFFFF.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, Generic, TypeVar

from router.wire.headers import PORTS, TCP_CHECKSUM, TCP_SEQUENCE
from router.wire.ip import IPV4_HEADER
from router.wire.offload import (
    AT_V4_ADDRESSES,
    AT_V4_CHECKSUM,
    AT_V6_ADDRESSES,
    HEADER,
    NEEDS_CHECKSUM,
)

V4_KEY: Final = 12
"""Bytes of both addresses and both ports."""
TCP_V4: Final = HEADER + IPV4_HEADER
"""Where TCP begins behind an IPv4 header without options."""
_FIELD: Final = Struct("!H")
_V4: Final = Struct(f"!H{V4_KEY}s{TCP_CHECKSUM - TCP_SEQUENCE}sH")
"""From the checksum of such an IPv4 header to that of TCP: addresses and ports, and what is between
them and the second."""

Owner = TypeVar("Owner")


class Rewrite(Generic[Owner]):
    """The translation of the segments of one direction of a flow.

    owner: the flow.
    outward: whether the segments go to the application, not to a listener of ours.
    """

    __slots__ = ("_address_change", "_addresses_at", "_all_change", "_new", "outward", "owner")

    def __init__(self, owner: Owner, outward: bool, old: bytes, new: bytes) -> None:
        """old, new: source, destination and both ports: 12 bytes for IPv4, 36 for IPv6."""
        self.owner = owner
        self.outward = outward
        self._new = new
        self._addresses_at = AT_V4_ADDRESSES if len(new) == V4_KEY else AT_V6_ADDRESSES
        self._address_change = _change(old[:-PORTS], new[:-PORTS])
        self._all_change = _change(old, new)

    def apply(self, frame: bytearray, start: int) -> None:
        """Rewrite a frame in place. `start` is where in it TCP begins."""
        if start != TCP_V4:
            self._apply_elsewhere(frame, start)
            return
        outer, _, between, field = _V4.unpack_from(frame, AT_V4_CHECKSUM)
        if frame[0] & NEEDS_CHECKSUM:
            field = (field + self._address_change) % 0xFFFF or 0xFFFF
        else:
            field = (field - self._all_change) % 0xFFFF
        outer = (outer - self._address_change) % 0xFFFF
        _V4.pack_into(frame, AT_V4_CHECKSUM, outer, self._new, between, field)

    def _apply_elsewhere(self, frame: bytearray, start: int) -> None:
        """The same where TCP begins behind options of IPv4, or behind IPv6."""
        new, at = self._new, self._addresses_at
        frame[at : at + len(new) - PORTS] = new[:-PORTS]
        frame[start : start + PORTS] = new[-PORTS:]
        at = start + TCP_CHECKSUM
        field = frame[at] << 8 | frame[at + 1]
        if frame[0] & NEEDS_CHECKSUM:
            field = (field + self._address_change) % 0xFFFF or 0xFFFF
        else:
            field = (field - self._all_change) % 0xFFFF
        _FIELD.pack_into(frame, at, field)
        if len(new) == V4_KEY:
            at = AT_V4_CHECKSUM
            field = frame[at] << 8 | frame[at + 1]
            _FIELD.pack_into(frame, at, (field - self._address_change) % 0xFFFF)


def _change(old: bytes, new: bytes) -> int:
    """The number to add to a ones' complement sum in which `old` is replaced by `new`, an even
    number of bytes each; never zero, so that no sum becomes +0, the sum of zeros alone."""
    return (int.from_bytes(new, "big") - int.from_bytes(old, "big")) % 0xFFFF or 0xFFFF
