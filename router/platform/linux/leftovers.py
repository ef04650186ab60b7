"""Undoing what runs have left all of whose processes were killed.

Always true: what a router that runs has done is not touched.
"""

from __future__ import annotations

from collections.abc import Iterator

from router.platform.linux.journal import left_behind
from router.platform.linux.runtime import remove_runtime_directory, runtime_directory
from router.platform.linux.undo import described, undo


def clean_up() -> Iterator[tuple[str, bool]]:
    """What was left in the present network namespace: a few words, and whether it is undone.

    What could not be undone stays written down. Raises OSError without root.
    """
    directory = runtime_directory()
    for journal in left_behind(directory):
        done = True
        for entry in reversed(journal.entries()):
            undone = undo([entry])
            done &= undone
            yield described(entry), undone
        if done:
            journal.remove()
        else:
            journal.close()
    remove_runtime_directory(directory)
