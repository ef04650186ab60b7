"""What a program writes that the guard has started for the router."""

from __future__ import annotations

import os
from typing import Final

PORTION: Final = 1 << 15
"""Bytes read at once; unpickling as many takes a few milliseconds."""


class Output:
    """The router's end: see Pipe."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> bytes:
        return os.read(self._descriptor, PORTION)

    def close(self) -> None:
        """A program that still writes ends with its next write (SIGPIPE)."""
        os.close(self._descriptor)
