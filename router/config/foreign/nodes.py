"""Values of nodes, as other programs' configurations have them: what is not of the kind that is
looked for counts as absent.

Must not know: any of the formats.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from router.config.document import Collection, Mapping, Node, Scalar, Sequence

TRUE: Final = ("true", "True", "TRUE", "yes", "on")


def fields(node: Node | None, depth: int = 4) -> dict[str, Node]:
    """The entries of a mapping by key, what it merges (`<<`) behind its own; of repeated keys the
    first."""
    found: dict[str, Node] = {}
    merged: list[Node] = []
    if isinstance(node, Mapping):
        for key, value in node.entries():
            if isinstance(key, Scalar) and key.text == "<<" and key.plain:
                merged += value.children if isinstance(value, Sequence) else [value]
            elif isinstance(key, Scalar):
                found.setdefault(key.text, value)
    if depth:
        for each in merged:
            for name, value in fields(each, depth - 1).items():
                found.setdefault(name, value)
    return found


def items(node: Node | None) -> list[Node]:
    """Of a sequence, or the one value that stands in its place."""
    if node is None or (isinstance(node, Scalar) and node.empty):
        return []
    return node.children if isinstance(node, Sequence) else [node]


def words(node: Node | None) -> list[Scalar]:
    """The single values among the items."""
    return [each for each in items(node) if isinstance(each, Scalar)]


def word(node: Node | None) -> str | None:
    """A single value that is not empty."""
    return node.text if isinstance(node, Scalar) and not node.empty else None


def is_true(node: Node | None) -> bool:
    return isinstance(node, Scalar) and node.text in TRUE


def number(node: Node | None) -> int:
    """A number that is not negative; -1 for everything else."""
    text = word(node) or ""
    return int(text[:9]) if text.isascii() and text.isdecimal() else -1


def named(node: Node | None) -> Iterator[tuple[str, Node, dict[str, Node]]]:
    """Name, node and fields of the mappings of a sequence that have a `name`, or a `tag`."""
    for each in items(node):
        found = fields(each)
        name = word(found.get("name")) or word(found.get("tag"))
        if name is not None:
            yield name, each, found


def set_fields(node: Node | None) -> dict[str, Node]:
    """Those that have a value: not false, nothing, or empty."""
    return {
        key: value
        for key, value in fields(node).items()
        if not (isinstance(value, Scalar) and (value.empty or value.text in ("false", "")))
        and not (isinstance(value, Collection) and not value.children)
    }
