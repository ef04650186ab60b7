"""Text of rules.yaml, for the commands that write one.

Always true: what is written here is read back as the same value, by this program and by every other
parser of YAML; text of others gets into comments without what could end them.

Must not know: which policies or rules there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from router.config.schema import BUILT_IN_POLICIES, NOT_POLICY_NAME, POLICY_NAME, schema_uri
from router.config.text import harmless

PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*|[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:/[0-9]{1,2})?")
"""What needs no quotes: words, IPv4 addresses and networks."""
WORDS: Final = re.compile(r"(?i)y|n|yes|no|on|off|true|false|null")
"""Which YAML 1.1 takes for truth values or nothing."""
LONGEST_COMMENT: Final = 120
LONGEST_NAME: Final = 48


def modeline() -> str:
    """By which editors find the schema (yaml-language-server)."""
    return f"# yaml-language-server: $schema={schema_uri()}"


def scalar(text: str) -> str:
    """A value, in quotes where it needs them. It must be printable."""
    if PLAIN.fullmatch(text) and not WORDS.fullmatch(text):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def flow_sequence(texts: Iterable[str]) -> str:
    """One value by itself, several in brackets."""
    values = [scalar(text) for text in texts]
    return values[0] if len(values) == 1 else f"[{', '.join(values)}]"


def comment(text: str) -> str:
    """A comment of one line. Whatever the text has in it, the line does not end before."""
    shown = harmless(" ".join(text.split()))
    return f"# {shown if len(shown) <= LONGEST_COMMENT else shown[: LONGEST_COMMENT - 1] + '…'}"


def policy_name(text: str, otherwise: str, taken: Iterable[str]) -> str:
    """A name that a policy can have, near to a text, and that is not taken. `otherwise`: where
    nothing of the text can be used."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.")[:LONGEST_NAME]
    name = re.sub(r"^[^A-Za-z]+", "", name)
    if not POLICY_NAME.fullmatch(name) or NOT_POLICY_NAME.fullmatch(name):
        name = otherwise
    refused = {each.lower() for each in (*taken, *BUILT_IN_POLICIES)}
    found, number = name, 1
    while found.lower() in refused:
        number += 1
        found = f"{name}-{number}"
    return found


def variable_name(policy: str) -> str:
    """The environment variable for the password of a policy."""
    return re.sub(r"[^A-Z0-9]+", "_", policy.upper()).strip("_") + "_PASSWORD"


def server_text(host: str, port: int) -> str:
    """As `server:` of a policy has it."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
