"""Prefixes as one integer each. Every process of a run imports this."""

from __future__ import annotations

from typing import Final

LENGTH_BITS: Final = 8
"""A packed prefix is first_address << LENGTH_BITS | prefix_length, so that sorting packed prefixes
puts a block before everything inside it."""
