"""Counting packets that arrive by interfaces; see router.platform.base.answers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

from router.config.interfaces import interface_fault
from router.platform.base.answers import NumberedPrefix, Place
from router.platform.base.errors import PlatformError
from router.platform.linux.answer_counters import (
    MOST_NUMBERS,
    MOST_PREFIXES,
    AnswerFilters,
    allow_memory,
)
from router.platform.privileged.arguments import (
    MOST_INDEX,
    check_address,
    check_number,
    invalid,
)
from router.platform.privileged.channel import Message
from router.platform.privileged.prefix_records import unpack_records

MOST_CHANGES: Final = 4 * MOST_PREFIXES
"""Prefixes of one request: all that may be there of both families are removed, and as many
added."""


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

    def count_answers(self, added: int, places: Sequence[Sequence[Any]], records: bytes) -> Message:
        """See AnswerFilters.change. records: of the prefixes that are added, `added` of them, and
        then of those that are removed."""
        if self._filters is None:
            raise PlatformError("nothing counts answers")
        prefixes = [NumberedPrefix(*each) for each in unpack_records(records, MOST_CHANGES)]
        check_number(added, 0, len(prefixes))
        wanted = [_checked_place(*each) for each in places]
        try:
            self._filters.change(prefixes[:added], prefixes[added:], wanted)
        except BaseException:
            self._filters.close()
            self._filters = None
            raise
        return Message(None)


def _checked_place(number: Any, name: Any, index: Any, address: Any, counter: Any) -> Place:
    """Of the interface it is known later whether it still is the one."""
    if not isinstance(name, str) or interface_fault(name) is not None:
        raise invalid("the name of an interface", name)
    return Place(
        check_number(number, 0, MOST_NUMBERS),
        name,
        check_number(index, 1, MOST_INDEX),
        str(check_address(address)),
        check_number(counter, 0, MOST_NUMBERS - 1),
    )
