"""Text from files, programs and the system, as it may be shown: nothing of it can move a cursor or
hide other text.

Must not know: problems, and what the text is about; every process of a run imports this.
"""

from __future__ import annotations


def harmless(text: str) -> str:
    """The text with everything that could move a cursor or hide other text replaced."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def spelled_out(text: str) -> str:
    """The text with everything that `harmless` replaces as an escape of Python; two different texts
    stay different, unless one has such an escape in it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
