"""The outside port of an inside endpoint (RFC 4787 REQ-3 and REQ-4).

Must not know: which ports the system has to give.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import chain, islice
from typing import Final

WELL_KNOWN: Final = range(1024)
"""Those of this machine are of its own services, which may start while a mapping exists: not taken,
although RFC 4787 REQ-3 b prefers to replace one of them by another."""
OTHERS: Final = range(0x8000, 0x10000)
"""What replaces a port that is not available: above the ports that services listen on."""
MOST_TRIES: Final = 64
"""Ports that are tried before a flow is refused: each costs a system call."""
MOST_LOOKS: Final = 512
"""Ports of which is looked whether they are taken, before a flow is refused. Of a range of which a
tenth is free, all of these are taken once in 10^23 times."""
_STRIDE: Final = 7919
"""A prime, so that steps of it reach every port of a range."""


def outside_ports(inside_port: int, first: int, taken: Container[int]) -> Iterator[int]:
    """The outside ports to try for an inside port, best first, at most MOST_TRIES.

    The port itself where it is not well-known, then others of its parity (RFC 4787 REQ-4). `first`
    is where among those to begin, any number; `taken` are ports that are not worth trying.
    MOST_LOOKS are looked at.
    """
    own = [] if inside_port in WELL_KNOWN else [inside_port]
    same_parity = OTHERS[inside_port & 1 :: 2]
    steps = (first + number * _STRIDE for number in range(MOST_LOOKS))
    others = (same_parity[step % len(same_parity)] for step in steps)
    candidates = chain(own, (port for port in others if port != inside_port))
    return islice((port for port in candidates if port not in taken), MOST_TRIES)
