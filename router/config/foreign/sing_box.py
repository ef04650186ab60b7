"""Configurations of sing-box, and its rule sets in source format by themselves: JSON.

Sources: https://sing-box.sagernet.org, pages route, rule, rule action, rule-set, outbound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from router.config.cidr import Cidr
from router.config.document import Mapping as MappingNode
from router.config.document import Node, Scalar
from router.config.document import Sequence as SequenceNode
from router.config.foreign.json_document import parse_json
from router.config.foreign.lists import ReadFile, all_networks
from router.config.foreign.model import Fixed, Imported
from router.config.foreign.nodes import fields, items, word, words
from router.config.foreign.rule_words import BY_NAME
from router.config.foreign.sing_box_conditions import REASONS
from router.config.foreign.sing_box_outbounds import outbounds
from router.config.foreign.sing_box_rules import RouteRules

TOP_READ: Final = ("outbounds", "endpoints", "route")
ROUTE_READ: Final = ("rules", "final", "rule_set", "default_interface")
NOT_A_RULE: Final = "a setting of that program, no rule"


def read_sing_box(file: str, text: str, read_file: ReadFile) -> Imported:
    """The file as it was read. Raises SyntaxProblemError."""
    root = parse_json(file, text)
    imported = Imported(file)
    top = fields(root)
    if isinstance(root, SequenceNode) or ("rules" in top and "route" not in top):
        imported.networks = list(_networks_of_list(imported, root, top))
        return imported
    route = fields(top.get("route"))
    imported.definitions = dict(outbounds(top, word(route.get("default_interface"))))
    imported.final = word(route.get("final")) or next(iter(imported.definitions), "direct")
    imported.final_line = route["final"].line if "final" in route else 0
    imported.definitions.setdefault("direct", Fixed.DIRECT)
    _note_settings(imported, root, TOP_READ)
    _note_settings(imported, top.get("route"), ROUTE_READ)
    RouteRules(imported, route, read_file).read()
    return imported


def _note_settings(imported: Imported, node: Node | None, read: Sequence[str]) -> None:
    if not isinstance(node, MappingNode):
        return
    for key, _ in node.entries():
        if isinstance(key, Scalar) and key.text not in read:
            imported.note(key.line, key.text, NOT_A_RULE)


def _networks_of_list(imported: Imported, root: Node, top: dict[str, Node]) -> Iterator[Cidr]:
    entries = words(root) if isinstance(root, SequenceNode) else []
    for rule in items(top.get("rules")):
        found = fields(rule)
        entries += words(found.get("ip_cidr"))
        for key in sorted(found.keys() - {"ip_cidr", "type"}):
            imported.note(rule.line, key, REASONS.get(key, BY_NAME))
    yield from all_networks(((each.line, each.text) for each in entries), imported.note)
