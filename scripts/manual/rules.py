"""The page rules.yaml(5), from the JSON Schema of the rules.

Always true: every key that the schema has is on the page, as docs/rules.md has it.
"""

from __future__ import annotations

import json
from typing import Final

from scripts.manual import roff
from scripts.rules.keys import SECTIONS, Key, Schema, at, keys
from scripts.rules.prose import HEAD, PROSE

EXAMPLE: Final = """\
version: 1
policies:
  home:   {type: direct, interface: default}
  office: {type: vpn, interface: wg0, on_down: reject}
rules:
  - {cidr: 10.20.0.0/24, policy: home}
  - {cidr: [10.0.0.0/8, "fd00:10::/32"], policy: office}
  - {file: lists/ads.txt, policy: drop}
default: bypass
"""

SEE_ALSO: Final = "tunrouter(1)"


def page(schema: Schema, version: str, date: str) -> str:
    """The whole page. date: ISO 8601."""
    _, _, about = HEAD.partition("\n")
    parts = [
        roff.title("rules.yaml", 5, date, version, "File Formats"),
        roff.heading("Name"),
        "rules.yaml \\- which addresses leave by which outbound\n",
        roff.heading("Description"),
        roff.from_markdown(about),
    ]
    for title, path in SECTIONS:
        parts.append(roff.heading(title))
        texts = (at(schema, path).get("description", ""), PROSE.get(title, ""))
        parts.append(roff.from_markdown("\n\n".join(filter(None, texts))))
        parts += [roff.item(roff.bold(key.name), _about(key)) for key in keys(schema, path)]
    parts += [roff.heading("Example"), roff.example(EXAMPLE.rstrip("\n"))]
    parts += [roff.heading("See also"), f"{roff.escaped(SEE_ALSO)}\n"]
    return "".join(parts)


def _about(key: Key) -> str:
    """Its description, then what may stand there."""
    named = f"{key.title}. {key.description}" if key.title else key.description
    values = f"Values: {key.values}."
    default = key.default if isinstance(key.default, str) else json.dumps(key.default)
    stated = "" if key.default is None else f" Default: `{default}`."
    needed = " Required." if key.required else ""
    return roff.inline(f"{named}\n{values}{stated}{needed}".lstrip("\n"))
