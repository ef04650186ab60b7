"""Counting packets that arrive by interfaces; see router.platform.base.answers."""

from __future__ import annotations

import os
from collections.abc import Sequence

from router.platform.base.answers import NumberedPrefix, Place
from router.platform.base.errors import PlatformError
from router.platform.linux.answer_counters import AnswerFilters, allow_memory
from router.platform.privileged.channel import Message

Numbers = Sequence[Sequence[int]]


class AnswerOperations:
    """After an error nothing is counted any more."""

    def __init__(self) -> None:
        self._filters: AnswerFilters | None = None

    def answer_counters(self) -> Message:
        """Hands over the counters. Raises OSError where the kernel refuses them."""
        if self._filters is None:
            allow_memory()
            self._filters = AnswerFilters()
        return Message(None, [os.dup(self._filters.counters)])

    def count_answers(
        self, added: Numbers, removed: Numbers, places: Sequence[Sequence[str | int]]
    ) -> Message:
        """See AnswerFilters.change."""
        if self._filters is None:
            raise PlatformError("nothing counts answers")
        try:
            self._filters.change(
                (NumberedPrefix(*each) for each in added),
                (NumberedPrefix(*each) for each in removed),
                (Place(*each) for each in places),  # type: ignore[arg-type]
            )
        except BaseException:
            self._filters.close()
            self._filters = None
            raise
        return Message(None)
