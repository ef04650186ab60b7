"""A value of which some bits are known.

Always true: `may_equal` and `may_differ` are False only where no packet can make them true.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Register(NamedTuple):
    """`value` where `known` has ones; what is behind its end is unknown. The value never begins
    with `excluded`, unless that is empty."""

    value: bytes = b""
    known: bytes = b""
    excluded: bytes = b""

    def masked(self, mask: bytes, flip: bytes) -> Register:
        """value & mask ^ flip, as long as the mask."""
        size = len(mask)
        bits = int.from_bytes(mask, "big")
        value = int.from_bytes(self.value[:size].ljust(size, b"\0"), "big")
        known = int.from_bytes(self.known[:size].ljust(size, b"\0"), "big")
        everything = (1 << 8 * size) - 1
        start = len(self.excluded)
        keeps_start = mask[:start] == b"\xff" * start and not any(flip[:start])
        return Register(
            (value & bits ^ int.from_bytes(flip, "big")).to_bytes(size, "big"),
            (known | everything & ~bits).to_bytes(size, "big"),
            self.excluded if keeps_start else b"",
        )

    def may_equal(self, value: bytes) -> bool:
        """Whether the first bytes may be `value`."""
        if self.excluded and value.startswith(self.excluded):
            return False
        return not any(
            (ours ^ theirs) & known
            for ours, theirs, known in zip(self.value, value, self.known, strict=False)
        )

    def may_differ(self, value: bytes) -> bool:
        """Whether the first bytes may be others than `value`."""
        size = len(value)
        return self.known[:size] != b"\xff" * size or self.value[:size] != value


UNKNOWN: Final = Register()


def known(value: bytes) -> Register:
    return Register(value, b"\xff" * len(value))
