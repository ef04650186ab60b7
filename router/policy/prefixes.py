"""Ranges and prefixes as integers, and their text.

Always true: addresses are ints of the family's width, ranges are inclusive at both ends, a prefix
is (first, length) with no host bits set.

Must not know: policies, routes, what rules do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from router.config.packed import LENGTH_BITS

if TYPE_CHECKING:
    from router.config.model import Range, Rule

WIDTHS = {4: 32, 6: 128}
"""Bits in an address of each family."""

HOST_MASKS = {
    version: tuple((1 << (width - length)) - 1 for length in range(width + 1))
    for version, width in WIDTHS.items()
}
"""The host bits of each prefix length, by family."""

FAMILIES = tuple(WIDTHS)
"""The IP versions."""

LENGTH_MASK = (1 << LENGTH_BITS) - 1


def unpack(packed: int) -> tuple[int, int]:
    """(first, length) of a packed prefix (see router.config.packed.LENGTH_BITS)."""
    return packed >> LENGTH_BITS, packed & LENGTH_MASK


def pack(first: int, length: int) -> int:
    """The opposite of unpack."""
    return first << LENGTH_BITS | length


def last_address(first: int, length: int, width: int) -> int:
    """The highest address inside a prefix of a family of `width` bits."""
    return first | ((1 << (width - length)) - 1)


def join_ranges(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Ascending disjoint (first, last) ranges with direct neighbours joined."""
    held: tuple[int, int] | None = None
    for first, last in ranges:
        if held is not None and held[1] + 1 == first:
            held = held[0], last
            continue
        if held is not None:
            yield held
        held = first, last
    if held is not None:
        yield held


def format_address(version: int, address: int) -> str:
    """Dotted decimal, or RFC 5952 for IPv6."""
    return str(IPv4Address(address) if version == 4 else IPv6Address(address))


def format_prefix(version: int, first: int, length: int) -> str:
    """As in `10.0.0.0/8` or `2001:db8::/32`."""
    return f"{format_address(version, first)}/{length}"


def range_with(rule: Rule, version: int, packed: int) -> Range | None:
    """The range of a rule that one of its prefixes is part of; None for a CIDR."""
    first = packed >> LENGTH_BITS
    for each in rule.all_ranges(version):
        if each.first <= first <= each.last and packed in each.packed:
            return each
    return None


def as_written(rule: Rule, version: int, packed: int) -> str:
    """One of a rule's prefixes for people: by itself, or the range that it is part of."""
    whole = range_with(rule, version, packed)
    return str(whole) if whole else format_prefix(version, *unpack(packed))
