"""ICMP6_FILTER of xnu, where a set bit passes a type (netinet/icmp6.h:619-635). On Linux a set bit
blocks it."""

from __future__ import annotations

from collections.abc import Collection
from struct import Struct
from typing import Final

FILTER: Final = Struct("<8I")


def passing(types: Collection[int]) -> bytes:
    """The option's value that lets these types through and no other."""
    words = [0] * 8
    for each in types:
        words[each >> 5] |= 1 << (each & 31)
    return FILTER.pack(*words)
