"""Why something was refused, in words for people.

Always true: the words are this router's or the operating system's, never those that Python or a
library puts around them, which differ between versions.
"""

from __future__ import annotations

import os

from router.platform.base.errors import PlatformError


def reason(error: Exception) -> str:
    """Of an OSError the system's words, and the file if it is about one; of a
    PlatformError its message; of anything else, that it is a fault of the router."""
    if isinstance(error, PlatformError):
        return str(error)
    if isinstance(error, OSError):
        words = error.strerror or "no cause is known"
        return words if error.filename is None else f"{words}: {os.fsdecode(error.filename)}"
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    return f"a fault of tunrouter's own ({type(error).__name__})"
