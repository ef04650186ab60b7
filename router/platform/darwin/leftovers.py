"""Undoing what runs have left."""

from __future__ import annotations

from collections.abc import Iterator

from router.platform.base.processes import Leftover
from router.platform.darwin.kernel import Xnu
from router.platform.darwin.processes_kernel import XnuProcesses
from router.platform.darwin.runtime import RUNTIME
from router.platform.darwin.undoable import DarwinUndoable
from router.platform.privileged import leftovers


def clean_up() -> Iterator[Leftover]:
    """What was left, and whether it is undone. Raises OSError where nothing can be read at all."""
    return leftovers.clean_up(DarwinUndoable(Xnu(), XnuProcesses()), RUNTIME.path())
