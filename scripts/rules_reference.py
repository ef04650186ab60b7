"""Writes docs/rules.md, the reference of rules.yaml, from its JSON Schema.

Usage: rules_reference.py [--check]
  --check    change nothing; exit 1 if the page is not what the schema says

Always true: each key of the schema is described once, with its values, its default and whether it
is required; what the page says beside that stands in PROSE.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parent.parent
SCHEMA: Final = ROOT / "router/config/rules.schema.json"
PAGE: Final = ROOT / "docs/rules.md"

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

HEAD: Final = """\
# rules.yaml

One file says which addresses leave this machine by which outbound. Where `-c` does not name it, it
is `./rules.yaml`, then `/etc/tunrouter/rules.yaml`. `tunrouter check` shows every problem with its
place. `tunrouter schema` prints the JSON Schema that this page is made from; the first line of a
file can tell editors with a YAML language server where it is:

```yaml
# yaml-language-server: $schema=rules.schema.json
```

Unknown keys are errors, with the nearest known one. IPv4 and IPv6 are equals everywhere.
"""

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

PROSE: Final = {
    "policies: an interface": (
        "`direct` is for an interface that is always there, `vpn` for one that comes and goes; "
        "both bind to it alike. A policy whose interface is missing is *down*: its `on_down` "
        "applies, and it comes up by itself. Traffic never falls to another outbound unless "
        "`on_down` names one.\n\n"
        "Built in, and to be named without a definition: `reply` answers echo requests itself and "
        "refuses the rest, `drop` is silence, `reject` refuses at once (a reset, or ICMP "
        "administratively prohibited), `bypass` leaves it to the system's own routes, past the TUN."
    ),
    "policies: a SOCKS5 proxy": (
        "A proxy that does not answer is *down*, as an interface that is missing. What a proxy "
        "cannot carry is in [limits](limits.md)."
    ),
    "rules": (
        "The first rule that matches decides, from top to bottom. A rule needs `cidr` or `file`, "
        "or both; where it has `protocol` or `port` as well, all must match."
    ),
    "web": "See [the web page](web.md).",
}


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


def main() -> int:
    text = page(json.loads(SCHEMA.read_text(encoding="utf-8")))
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
        return 0
    if PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE.name} is not what the schema says: run `make docs`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
