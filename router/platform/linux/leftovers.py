"""Undoing what runs have left in the present network namespace."""

from __future__ import annotations

from collections.abc import Iterator

from router.platform.base.processes import Leftover
from router.platform.linux.runtime import runtime_directory
from router.platform.linux.undoable import LINUX
from router.platform.privileged import leftovers


def clean_up() -> Iterator[Leftover]:
    """What was left, and whether it is undone. Raises OSError where nothing can be read at all."""
    return leftovers.clean_up(LINUX, runtime_directory())
