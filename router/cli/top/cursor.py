"""Which of the flows the cursor is on, and which of them the screen begins with.

Always true: at the beginning it is the first, whichever that is; once it was moved it stays on its
flow, wherever the order takes that, and when the flow has ended, on its place.
"""

from __future__ import annotations

from collections.abc import Sequence

from router.cli.top.model import FlowRow, Key


class Cursor:
    """index: of the flow in its list. first: the first that is visible."""

    def __init__(self) -> None:
        self.index = 0
        self.first = 0
        self._key: Key | None = None

    def settle(self, rows: Sequence[FlowRow], height: int) -> None:
        """Find the flow again in another list, and have it visible among `height` rows."""
        places = {row.key: place for place, row in enumerate(rows)}
        if self._key is not None and self._key in places:
            self.index = places[self._key]
        self.index = max(0, min(self.index, len(rows) - 1))
        self.first = min(self.first, self.index, max(0, len(rows) - height))
        self.first = max(0, self.first, self.index - height + 1)

    def move(self, rows: Sequence[FlowRow], by: int) -> None:
        """To another row; at the first one it follows no flow."""
        self.index = max(0, min(self.index + by, len(rows) - 1))
        self._key = rows[self.index].key if rows and self.index else None

    def row(self, rows: Sequence[FlowRow]) -> FlowRow | None:
        """The one that it is on."""
        return rows[self.index] if rows else None
