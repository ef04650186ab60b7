"""What a misspelt word may have meant.

Must not know: what words are about; commands that read no rules import this.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from functools import lru_cache


def nearest(word: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The known word nearest to a misspelt one; case is ignored."""
    return _nearest(word, tuple(known), likeness)


@lru_cache(maxsize=1024)
def _nearest(word: str, known: tuple[str, ...], likeness: float) -> str | None:
    """A large file is likely to repeat its mistakes, and difflib takes its time."""
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(word.lower()[:64], by_lower, n=1, cutoff=likeness)
    return by_lower[close[0]] if close else None
