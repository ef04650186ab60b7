"""The keys of rules.yaml, read from its JSON Schema.

Always true: each key is described once, with its values, its default and whether it is required.

Must not know: how a reference is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from router.config.schema import schema_text

Schema = Mapping[str, Any]

SECTIONS: Final = (
    ("The file", ""),
    ("tun", "properties/tun"),
    ("policies: an interface", "$defs/interface_policy"),
    ("policies: a SOCKS5 proxy", "$defs/socks5_policy"),
    ("rules", "$defs/rule"),
    ("web", "properties/web"),
)
"""Titles, and where the schema has them."""

KINDS: Final = {
    "policy_name": "a policy",
    "on_down": "a policy",
    "path": "a file",
    "interface": "an interface",
    "any_interface_name": "an interface",
    "destination": "a network, an address or a range",
    "address": "an address with its prefix length",
}
"""Words for what the schema defines by a pattern."""


@dataclass(frozen=True)
class Key:
    """One key of a section. values: what may stand there, in words."""

    name: str
    title: str
    description: str
    values: str
    default: object
    required: bool


def at(schema: Schema, path: str) -> Schema:
    """The part of a schema at a path of names; the whole for an empty one."""
    found = schema
    for name in filter(None, path.split("/")):
        found = found[name]
    return found


def keys(schema: Schema, path: str) -> Iterator[Key]:
    """Those of a section, in the order of the schema."""
    section = at(schema, path)
    for name, written in section["properties"].items():
        merged = _resolved(schema, written)
        yield Key(
            name,
            merged.get("title", ""),
            merged.get("description", ""),
            _values(schema, written),
            merged.get("default"),
            name in section.get("required", ()),
        )


def _resolved(schema: Schema, written: Schema) -> dict[str, Any]:
    """With what its reference says; its own words come first."""
    found = dict(written)
    while "$ref" in found:
        target = at(schema, str(found.pop("$ref")).removeprefix("#/"))
        found = {**target, **found}
    return found


def _values(schema: Schema, written: Schema) -> str:
    """What may stand there: values, a range of numbers, or words for it."""
    known = KINDS.get(str(written.get("$ref", "")).rpartition("/")[2])
    found = _resolved(schema, written)
    match found:
        case {"const": value}:
            words = f"`{value}`"
        case {"enum": values}:
            words = ", ".join(f"`{value}`" for value in values)
        case _ if known is not None:
            words = known
        case {"oneOf": [one, {"type": "array"}]}:
            words = f"{_values(schema, one)}; or a list of these"
        case {"oneOf": [{"minimum": least, "maximum": most}, _]}:
            words = f"{least} to {most}, or a range in quotes"
        case {"type": "integer", "minimum": least, "maximum": most}:
            words = f"{least} to {most}"
        case {"type": "string"}:
            words = "text"
        case _:
            words = "its keys are below"
    return words


def read() -> Schema:
    """The schema of the program."""
    found: Schema = json.loads(schema_text())
    return found
