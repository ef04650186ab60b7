"""Conditions of iptables and of IPsec policies as steps of a rule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from router.policy.host_rules.model import Compare, Field, Load, Mask, Step

SOURCE: Final = {4: 12, 6: 8}
DESTINATION: Final = {4: 16, 6: 24}
"""Offsets of the addresses in the network header, by IP version (RFC 791, RFC 8200)."""
REGISTER: Final = 0


def masked_is(load: Load, value: bytes, mask: bytes, *, equal: bool = True) -> Iterator[Step]:
    """That what is loaded is the value, or is not, where the mask has ones; without any ones
    there is no condition."""
    if any(mask):
        expected = bytes(each & bits for each, bits in zip(value, mask, strict=True))
        yield load
        yield Mask(REGISTER, REGISTER, mask, bytes(len(mask)))
        yield Compare(REGISTER, expected, equal)


def header(offset: int, length: int) -> Load:
    return Load(REGISTER, Field.NETWORK_HEADER, offset, length)
