"""Writing a file that does not exist yet, or the standard output.

Always true: no file is overwritten, not even one that appears meanwhile, and nothing is written
through a link; a file that cannot be written to its end is removed again.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

STANDARD_OUTPUT: Final = "-"
MODE: Final = 0o644
"""Root reads no rules that others can write."""


class NotWrittenError(Exception):
    """`str` of it says what was not written, why, and what to do."""


def write_new(name: str, text: str) -> None:
    """Write a new file, or the standard output for `-`. Raises NotWrittenError; OSError for the
    standard output."""
    if name == STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, MODE)
    except FileExistsError:
        raise NotWrittenError(
            f"{name} exists already and is never overwritten: name another file with -o, or move "
            "it away"
        ) from None
    except (FileNotFoundError, NotADirectoryError):
        raise NotWrittenError(f"{name}: there is no such directory: create it first") from None
    except OSError as error:
        raise NotWrittenError(f"{name} can't be written: {error.strerror}") from None
    except ValueError:  # a NUL character
        raise NotWrittenError("that is not a path: name another file with -o") from None
    _fill(name, descriptor, text.encode("utf-8", "replace"))


def _fill(name: str, descriptor: int, data: bytes) -> None:
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        if isinstance(error, OSError):
            raise NotWrittenError(
                f"{name} can't be written: {error.strerror}: nothing of it is left"
            ) from None
        raise
