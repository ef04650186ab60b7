"""Exit codes that scripts rely on."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
"""A run that failed; a check that found errors."""
BAD_RULES: Final = 2
"""Rules that can't be read or, where they are needed, have errors; for every command, arguments
that make no sense, which is found out before anything is done."""
