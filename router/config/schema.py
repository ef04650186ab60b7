"""The JSON Schema of rules.yaml, and the keys and words that the loader takes from it.

Always true: keys, enumerations, patterns and limits are written down once, in rules.schema.json,
so that what editors accept and what the loader accepts can't drift apart.

Must not know: how problems are found or reported.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("rules.schema.json")


def schema_text() -> str:
    """The schema as JSON text (draft 2020-12), for editors and for `tunrouter schema`."""
    return _FILE.read_text(encoding="utf-8")


def schema_uri() -> str:
    """Where this installation has the schema, for editors."""
    return _FILE.absolute().as_uri()


_SCHEMA: dict[str, Any] = json.loads(schema_text())
_DEFS: dict[str, Any] = _SCHEMA["$defs"]
_TUN: dict[str, Any] = _SCHEMA["properties"]["tun"]["properties"]

VERSION: int = _SCHEMA["properties"]["version"]["const"]
TOP_KEYS = tuple(_SCHEMA["properties"])
TUN_KEYS = tuple(_TUN)
POLICY_KEYS = tuple(_DEFS["interface_policy"]["properties"])
SOCKS5_KEYS = tuple(_DEFS["socks5_policy"]["properties"])
WEB_KEYS = tuple(_SCHEMA["properties"]["web"]["properties"])
RULE_KEYS = tuple(_DEFS["rule"]["properties"])

POLICY_TYPES: tuple[str, ...] = tuple(
    name
    for kind in ("interface_policy", "socks5_policy")
    for name in _DEFS[kind]["properties"]["type"]["enum"]
)
BUILT_IN_POLICIES: tuple[str, ...] = tuple(_DEFS["built_in_policy"]["enum"])
PROTOCOLS: tuple[str, ...] = tuple(_DEFS["protocol"]["enum"])

PATHS: tuple[str, ...] = tuple(_DEFS["interface_policy"]["properties"]["path"]["enum"])

_SOCKS5: dict[str, Any] = _DEFS["socks5_policy"]["properties"]
UDP_MODES: tuple[str, ...] = tuple(_SOCKS5["udp"]["enum"])
DEFAULT_ICMP: str = _SOCKS5["icmp"]["default"]
VARIABLE = re.compile(_SOCKS5["password_env"]["pattern"], re.ASCII)

POLICY_NAME = re.compile(_DEFS["policy_name"]["pattern"])
NOT_POLICY_NAME = re.compile(_DEFS["policy_name"]["not"]["pattern"])
"""Words that YAML takes for a truth value or for nothing."""

NOT_INTERFACE_NAME: tuple[str, ...] = tuple(_DEFS["interface"]["not"]["enum"])
PORT = re.compile(_DEFS["port"]["oneOf"][1]["pattern"], re.ASCII)
MAXIMUM_PORT: int = _DEFS["port"]["oneOf"][0]["maximum"]

USER_NAME = re.compile(_SCHEMA["properties"]["user"]["pattern"])
DEFAULT_USER: str = _SCHEMA["properties"]["user"]["default"]

DEFAULT_LISTEN: str = _SCHEMA["properties"]["web"]["properties"]["listen"]["default"]

DEFAULT_POLICY: str = _SCHEMA["properties"]["default"]["default"]
DEFAULT_ON_DOWN: str = _DEFS["on_down"]["default"]
NOT_ON_DOWN: tuple[str, ...] = tuple(_DEFS["on_down"]["allOf"][1]["not"]["enum"])
DEFAULT_ADDRESSES: tuple[str, ...] = tuple(_TUN["address"]["default"])
DEFAULT_MTU: int = _TUN["mtu"]["default"]
MINIMUM_MTU: int = _TUN["mtu"]["minimum"]
MAXIMUM_MTU: int = _TUN["mtu"]["maximum"]
