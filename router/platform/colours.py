"""Words in colour, for people at a terminal alone.

Always true: what goes to a file or a pipe is plain, and the same every time; NO_COLOR
(https://no-color.org) keeps it plain at a terminal as well.
"""

from __future__ import annotations

import os
from typing import Final, TextIO

STYLES: Final = {"error": "1;31", "warning": "1;33", "help": "36", "carets": "1"}


def has_colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal that may have them."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def styled(style: str, text: str) -> str:
    """A text in one of STYLES."""
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m"
