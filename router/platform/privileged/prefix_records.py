"""Prefixes with a number each, as records that the guard receives (`channel`): a million are 22 MB.

Always true: what is unpacked is a prefix without host bits, of a known IP version.

Must not know: what the numbers stand for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct, error
from typing import Final

from router.platform.base.errors import PlatformError
from router.policy.prefixes import HOST_MASKS, WIDTHS

RECORD: Final = Struct("=BBI16s")
"""IP version, length, number, and the first address as a number of 128 bits, high byte first."""
MOST: Final = 2_000_000
"""Records of one message."""
ADDRESS: Final = 16

Numbered = tuple[int, int, int, int]
"""IP version, first address, length, number."""


def pack_records(prefixes: Iterable[Numbered]) -> bytes:
    """Raises PlatformError if there are more than MOST."""
    pack = RECORD.pack
    packed = b"".join(
        pack(version, length, number, first.to_bytes(ADDRESS, "big"))
        for version, first, length, number in prefixes
    )
    _check_size(packed)
    return packed


def unpack_records(records: bytes, most: int = MOST) -> Iterator[Numbered]:
    """Raises PlatformError for what is none, and for more than `most`."""
    _check_size(records, most)
    try:
        unpacked = RECORD.iter_unpack(records)
    except error as wrong:
        raise PlatformError(f"{len(records)} bytes are no records of prefixes") from wrong
    for version, length, number, address in unpacked:
        first = int.from_bytes(address, "big")
        masks = HOST_MASKS.get(version, ())
        if length >= len(masks) or first & masks[length] or first >> WIDTHS[version]:
            raise PlatformError(f"no prefix: version {version}, length {length}, first {first}")
        yield version, first, length, number


def _check_size(records: bytes, most: int = MOST) -> None:
    if len(records) > most * RECORD.size:
        number = len(records) // RECORD.size
        raise PlatformError(f"{number} prefixes are more than the {most} that are possible")
