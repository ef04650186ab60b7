"""The reference of rules.yaml as Markdown: docs/rules.md."""

from __future__ import annotations

import json

from scripts.rules.keys import SECTIONS, Key, Schema, at, keys
from scripts.rules.prose import HEAD, PROSE


def page(schema: Schema) -> str:
    """The whole page, as Markdown."""
    parts = [HEAD]
    for title, path in SECTIONS:
        parts.append(f"## {title}\n")
        description = at(schema, path).get("description")
        parts += [f"{description}\n"] if description else []
        parts += [f"{PROSE[title]}\n"] if title in PROSE else []
        parts.append("| key | | values | default |\n|---|---|---|---|")
        parts += [_row(key) for key in keys(schema, path)]
        parts.append("")
    return "\n".join(parts)


def _row(key: Key) -> str:
    what = f"**{key.title}.** {key.description}" if key.title else key.description
    default = "required" if key.required else _written(key.default)
    cells = (f"`{key.name}`", what, key.values, default)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _written(default: object) -> str:
    if default is None:
        return ""
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"
