"""How many rules are read."""

from __future__ import annotations

from typing import Final

MOST_RULES: Final = 2_000
"""Of one table, as far as packets that leave can reach them. Reading a rule takes 50 µs, in which
the guard does nothing else."""


class TooManyRulesError(Exception):
    """More than MOST_RULES."""
