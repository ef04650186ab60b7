"""The directory of a router's files, as far as it is the same on every system."""

from __future__ import annotations

import contextlib
from pathlib import Path


def remove_runtime_directory(directory: Path) -> None:
    """If it is empty, and then the one that it is in, if that is."""
    with contextlib.suppress(OSError):
        with contextlib.suppress(FileNotFoundError):
            directory.rmdir()
        directory.parent.rmdir()
