"""Identifications for fragments whose packet has none, not to be guessed (RFC 7739).

Always true: they come from the system's own source of randomness. The module `secrets` would do
the same, and imports OpenSSL: a twentieth of the router's start.
"""

from __future__ import annotations

import os


def random_16_bits() -> int:
    """A number from 0 to 65535."""
    return int.from_bytes(os.urandom(2))


def random_identification() -> int:
    """An identification for fragments (IPv4 16 bits, IPv6 as many of its 32): not zero."""
    return random_16_bits() or 1
