"""What the running router has, for the completion of names and numbers: a line each, with what is
known of it behind a tabulator.

Must not know: shells. It imports nothing that takes long: it is asked at each press of a key.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from router.cli.completion.tree import POLICIES, RULES, TUNS
from router.control.client import find_router, request
from router.platform import control_sockets

PATIENCE: Final = 1.0
"""Seconds."""
LONGEST: Final = 60
"""Characters of what is known of it."""


def values(kind: str) -> Iterator[str]:
    """kind: one of tree.ASKED. Names that a terminal cannot show are left out.

    Raises NoAnswerError, PlatformError.
    """
    for value, about in _values(kind):
        if value.isprintable():
            shown = "".join(char if char.isprintable() else " " for char in about)
            yield f"{value}\t{shown[:LONGEST]}".rstrip()


def _values(kind: str) -> Iterator[tuple[str, str]]:
    if kind == TUNS:
        yield from ((name, "") for name in control_sockets())
        return
    status = request(find_router(None), {"command": "status"}, PATIENCE)
    if kind == POLICIES:
        for name, policy in status["policies"].items():
            yield name, policy["interface"] or ""
    if kind == RULES:
        yield "0", "the default"
        yield from ((str(rule["index"]), rule["text"]) for rule in status["rules"])
