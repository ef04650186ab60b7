"""Why something was refused, in words for people.

Always true: the words are this router's or the operating system's, never those that Python or a
library puts around them, which differ between versions.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from router.platform.base.errors import PlatformError

MEMORY: Final = (
    "free memory, or raise its limit (`ulimit -v`, MemoryMax= of the service), and try again"
)
FILES: Final = "raise the limit of open files (`ulimit -n`, LimitNOFILE= of the service)"
RIGHTS: Final = (
    "a container, a service or a security module forbids it: `dmesg` may say which; allow it there"
)
REMEDIES: Final[Mapping[int, str]] = MappingProxyType(
    {
        errno.ENOMEM: MEMORY,
        errno.ENOBUFS: MEMORY,
        errno.EMFILE: FILES,
        errno.ENFILE: FILES,
        errno.EPERM: RIGHTS,
        errno.EACCES: RIGHTS,
        errno.ENOSPC: "`df` and `df -i` say which file system is full: free some of it",
    }
)


def remedy(error: OSError) -> str:
    """What to do about a refusal of the system, whatever was refused."""
    return REMEDIES.get(error.errno or 0, "start the router again")


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
