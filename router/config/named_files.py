"""Which files a rules file names: its lists and password files, whether or not they exist and
whether or not the rest of it is right.

Must not know: what stands in those files, what the rules mean.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from router.config.document import Collection, Mapping, Node, Scalar, SyntaxProblemError
from router.config.document import parse_document as parse
from router.config.opening import Opener
from router.config.reading import RulesFileUnreadable, decode, read_bytes
from router.config.trust import Reader

KEYS: Final = frozenset({"file", "password_file"})
"""Whose values are paths, relative to the rules file, wherever they stand."""


def named_files(path: Path, reader: Reader) -> frozenset[Path] | None:
    """None where the file can't be read, or not to its end: then nothing is known.

    reader: see router.config.loader.
    """
    try:
        text, faults = decode(str(path), read_bytes(path, Opener(reader)).data)
        root = None if faults else parse(str(path), text).root
    except (RulesFileUnreadable, SyntaxProblemError, MemoryError):
        return None
    if root is None:
        return None
    found: set[Path] = set()
    waiting: list[Node] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            for key, value in node.entries():
                if isinstance(key, Scalar) and key.text in KEYS:
                    found.update(path.parent / each.text for each in _scalars(value))
        if isinstance(node, Collection):
            waiting += node.children
    return frozenset(each for each in found if "\0" not in str(each))


def _scalars(node: Node) -> list[Scalar]:
    """A file, or a sequence of them."""
    nodes = node.children if isinstance(node, Collection) else [node]
    return [each for each in nodes if isinstance(each, Scalar) and each.text]
