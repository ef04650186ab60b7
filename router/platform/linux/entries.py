"""Changes that can be undone, as records: the TUN, sysctls, rules, routes by other programs'
interfaces, and the files of sockets.

Always true: a record is accepted only if a run could have written it; a record of another kind,
with other fields or about other things is refused. So whatever a file contains, no file but the
sockets beside it is removed, no setting but rp_filter written, no rule or route deleted but
those with this router's protocol number, and no interface but one with the name and index of its
TUN.

Must not know: how a change is undone.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from router.config.interfaces import interface_fault
from router.platform.linux.netlink.constants import RTPROT_TUNROUTER
from router.platform.linux.netlink.rules import Rule
from router.platform.linux.netlink.single_routes import SingleRoute
from router.platform.privileged.socket_files import WHAT, describe_socket, is_socket_entry
from router.platform.privileged.undoable import Entry

SYSCTL_PATH: Final = re.compile(r"net/ipv4/conf/([^/]+)/rp_filter")
RP_FILTER: Final = ("0", "1", "2")
TABLE_BASE: Final = 0x74750000
"""Plus the index of the TUN: a number that no person chooses, one for each router."""
MOST_INDEX: Final = 0x7FFFFFFF
RULE_PRIORITY: Final = 32800
"""Behind `main` (32766) and `default` (32767): a last resort."""
BOUND_RULE_PRIORITY: Final = 32765
"""Before `main`, which has other routes by the TUN."""
SHOWN: Final = 60


def tun_entry(name: str, index: int) -> Entry:
    """A TUN goes with its descriptor, unless it was made persistent or another process has a copy
    of the descriptor."""
    return {"undo": "tun", "name": name, "index": index}


def sysctl_entry(path: str, before: str, ours: str) -> Entry:
    return {"undo": "sysctl", "path": path, "before": before, "ours": ours}


def rule_entry(rule: Rule) -> Entry:
    return {"undo": "rule", "attributes": rule._asdict()}


def recorded_rule(entry: Entry) -> Rule:
    """Of a valid entry."""
    return Rule(**entry["attributes"])


def route_entry(route: SingleRoute) -> Entry:
    """Of a default route."""
    attributes = {
        "family": route.family,
        "dst": "default",
        "oif": route.oif,
        "table": route.table,
        "priority": route.priority,
        "proto": route.proto,
    }
    return {"undo": "route", "attributes": attributes}


def recorded_route(entry: Entry) -> SingleRoute:
    """Of a valid entry."""
    given = entry["attributes"]
    return SingleRoute(
        given["family"], given["oif"], given["table"], given["proto"], given["priority"]
    )


def goes_with_namespace(entry: Entry) -> bool:
    """Whether nothing of it is left when its network namespace is gone."""
    return bool(entry["undo"] != "socket")


def describe(entry: Entry) -> str:
    """In a few words, for log lines."""
    if entry["undo"] == "sysctl":
        return f"{entry['path']} = {entry['before']}"
    if entry["undo"] == "socket":
        return describe_socket(entry)
    if entry["undo"] == "tun":
        return f"the TUN device {entry['name']}"
    attributes = " ".join(f"{name} {value}" for name, value in entry["attributes"].items())
    return f"{entry['undo']} {attributes}"


def parse_entry(line: bytes, directory: Path) -> Entry:
    """The entry of a line; `directory` is where the sockets are.

    Raises ValueError that names the fault.
    """
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{_short(line.decode(errors='replace'))} is damaged") from error
    entry: Entry = value if isinstance(value, dict) else {}
    fault = _FAULTS.get(_text(entry, "undo"))
    if fault is None:
        raise ValueError(f"{_short(json.dumps(value))} is of an unknown kind")
    what = fault(entry, directory)
    if what is not None:
        raise ValueError(f"{_short(json.dumps(value))} does not describe {what}")
    return entry


def _tun_fault(entry: Entry, _: Path) -> str | None:
    fits = (
        entry.keys() == {"undo", "name", "index"}
        and interface_fault(_text(entry, "name")) is None
        and _is_number(entry["index"], 2, MOST_INDEX)
    )
    return None if fits else "the TUN device of a router"


def _sysctl_fault(entry: Entry, _: Path) -> str | None:
    found = SYSCTL_PATH.fullmatch(_text(entry, "path"))
    fits = (
        entry.keys() == {"undo", "path", "before", "ours"}
        and found is not None
        and interface_fault(found[1]) is None
        and entry["before"] in RP_FILTER
        and entry["ours"] in RP_FILTER
    )
    return None if fits else "the rp_filter of an interface, from 0 to 2"


def _socket_fault(entry: Entry, directory: Path) -> str | None:
    return None if is_socket_entry(entry, directory) else WHAT


def _rule_fault(entry: Entry, _: Path) -> str | None:
    attributes = _attributes(entry)
    fits = (
        attributes.keys() == {"family", "oifname", "table", "priority", "protocol"}
        and _has_our_protocol(attributes, "protocol")
        and interface_fault(_text(attributes, "oifname")) is None
        and _is_one_of(attributes["priority"], (RULE_PRIORITY, BOUND_RULE_PRIORITY))
    )
    return None if fits else "a rule of this router"


def _route_fault(entry: Entry, _: Path) -> str | None:
    attributes = _attributes(entry)
    fits = (
        attributes.keys() == {"family", "dst", "oif", "table", "priority", "proto"}
        and _has_our_protocol(attributes, "proto")
        and attributes["dst"] == "default"
        and _is_number(attributes["oif"], 1, MOST_INDEX)
        and _is_number(attributes["priority"], 1, MOST_INDEX)
    )
    return None if fits else "a route of this router"


_FAULTS: Final[Mapping[str, Callable[[Entry, Path], str | None]]] = {
    "tun": _tun_fault,
    "sysctl": _sysctl_fault,
    "rule": _rule_fault,
    "route": _route_fault,
    "socket": _socket_fault,
}
"""By kind, a function: what an entry of the kind should describe, or None if it does."""


def _has_our_protocol(attributes: Entry, protocol: str) -> bool:
    return (
        _is_number(attributes[protocol], RTPROT_TUNROUTER, RTPROT_TUNROUTER)
        and _is_one_of(attributes["family"], (socket.AF_INET, socket.AF_INET6))
        and _is_number(attributes["table"], TABLE_BASE, TABLE_BASE + MOST_INDEX)
    )


def _attributes(entry: Entry) -> Entry:
    found = entry.get("attributes")
    return found if isinstance(found, dict) and len(entry) == 2 else {}


def _text(entry: Entry, key: str) -> str:
    found = entry.get(key)
    return found if isinstance(found, str) else ""


def _is_number(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_one_of(value: object, numbers: tuple[int, ...]) -> bool:
    """A float that is equal to one of them is not."""
    return isinstance(value, int) and value in numbers


def _short(text: str) -> str:
    text = repr(text.strip())
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
