"""When files that change have come to rest, so that they are to be read again.

Theory of operation. Editors write a file in pieces, or write another and rename it, with a moment
in which there is none; programs replace a link, or the directory that it leads to. All of that
shows in what stat() says about a path. Nothing is read until that has been the same for QUIET
seconds, or for MISSING where a file that was there is not.

Always true: a state that has been reported is not reported again; one that differs from it and
lasts is reported once.

Must not know: files, clocks. Time is an argument, in seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

QUIET: Final = 0.5
"""Seconds."""
MISSING: Final = 2.0
"""Seconds."""

State = Mapping[Path, tuple[int, ...] | None]
"""What is known of each file; None: there is none."""


class Settling:
    """reported: the state that is known already."""

    def __init__(self, reported: State) -> None:
        self._reported = dict(reported)
        self._last = dict(reported)
        self._since = 0.0

    def see(self, state: State, now: float) -> bool:
        """Whether this state of the same files is to be reported now; then it counts as such."""
        if state != self._last:
            self._last = dict(state)
            self._since = now
        if self._last == self._reported:
            return False
        gone = any(each is None and self._reported.get(path) for path, each in state.items())
        if now - self._since < (MISSING if gone else QUIET):
            return False
        self._reported = dict(self._last)
        return True

    def follow(self, files: Iterable[Path], state: State) -> None:
        """Follow other files from now on, after a report. state: of those that are new."""
        known = {path: self._reported.get(path, state.get(path)) for path in files}
        self._reported, self._last = dict(known), known
