"""Changes that outlive a process, as a system records and undoes them.

Always true: a change is recorded before it is made, and undone in the reverse order.

Must not know: which changes there are.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from router.platform.base.descriptors import HasFileno
from router.platform.reason import reason

log = logging.getLogger(__name__)

Entry = dict[str, Any]
"""A recorded change."""


class Holder(NamedTuple):
    """A process that has something open. `program` as in ps(1), its arguments too."""

    pid: int
    program: str


class Watched(NamedTuple):
    """A process whose end another process is to notice: an argument for that one's program, and
    descriptors that it inherits. See Undoable.watch."""

    words: str
    inherited: Sequence[int] = ()


class Undoable(Protocol):
    """The changes of one system.

    program: the module that is the undoer's process.
    manual: what a person can do about a record that nothing here can undo.
    """

    program: str
    manual: str

    def parse_entry(self, line: bytes, directory: Path) -> Entry:
        """The entry of a line of the journal in a directory. Raises ValueError that names the
        fault, for all that no run has written."""
        ...

    def describe(self, entry: Entry) -> str:
        """In a few words, for log lines."""
        ...

    def goes_with_network(self, entry: Entry) -> bool:
        """Whether nothing of it is left when the network that it was made in is gone."""
        ...

    def undo(self, entry: Entry) -> None:
        """Idempotent. Raises OSError."""
        ...

    def network(self) -> str:
        """What names the present network, and no other before or after it. Raises OSError."""
        ...

    def watch(self, words: str) -> HasFileno | int | None:
        """In the process that has got them: what is readable when the process of a Watched has
        ended; None where that cannot be told. Raises OSError."""
        ...

    def lock_holder(self, descriptor: int) -> Holder | None:
        """The process that has locked a file that is open here too, if it can be found."""
        ...


def as_line(entry: Entry) -> bytes:
    return json.dumps(entry).encode() + b"\n"


def undo_all(system: Undoable, entries: Sequence[Entry]) -> list[Entry]:
    """Undo, the last first, and log what fails; the entries that are undone."""
    undone = []
    for entry in reversed(entries):
        try:
            system.undo(entry)
        except OSError as error:
            log.error("could not undo %s: %s", system.describe(entry), reason(error))  # noqa: TRY400 - for people
        else:
            undone.append(entry)
    return undone
