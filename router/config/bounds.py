"""How much of a rules file and its lists is read, so that no file can fill the memory or hold a
reader for ever.

Always true: what a bound refuses is an error that names the bound; nothing is cut off silently.
docs/limits.md has the same figures.
"""

from __future__ import annotations

from typing import Final

MIB: Final = 1 << 20

RULES_BYTES: Final = 32 * MIB
"""Of a rules file."""
VALUES: Final = 4_000_000
"""Of a rules file, keys and collections among them: 800,000 rules, which take 1.5 GB of memory."""
REPEATED: Final = 100_000
"""Values of a rules file that aliases stand for: a short file could otherwise hold a reader for a
minute of processor time."""
LIST_BYTES: Final = 256 * MIB
"""Of a list file, and of what a compressed one unpacks to."""
LINES: Final = 10_000_000
"""Of all lists together."""
NETWORKS: Final = 5_000_000
"""Of all lists together, those of ranges counted one by one; the Internet has 1.3 million."""
SECONDS: Final = 100.0
"""For all lists together; a reload is given up after 120 (router.engine.reload.compiled)."""
PROBLEMS: Final = 10_000
"""Errors, and likewise warnings, that are reported of a rules file and its lists."""
ATTEMPTS: Final = 3
"""At reading files that change meanwhile."""
