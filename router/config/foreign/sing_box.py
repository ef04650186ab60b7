"""Configurations of sing-box, and its rule sets in source format by themselves: JSON.

Sources: https://sing-box.sagernet.org, pages route, rule, rule action, rule-set, outbound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from router.config.document import Mapping as MappingNode
from router.config.document import Node, Scalar
from router.config.document import Sequence as SequenceNode
from router.config.foreign.json_document import parse_json
from router.config.foreign.lists import ReadFile, list_alone
from router.config.foreign.model import Fixed, Imported
from router.config.foreign.nodes import fields, is_true, items, set_fields, word, words
from router.config.foreign.sing_box_conditions import REASONS, left_out
from router.config.foreign.sing_box_outbounds import outbounds
from router.config.foreign.sing_box_rules import RouteRules

TOP_READ: Final = ("outbounds", "endpoints", "route")
ROUTE_READ: Final = ("rules", "final", "rule_set", "default_interface")
NOT_A_RULE: Final = "a setting of that program, no rule"


def read_sing_box(file: str, text: str, read_file: ReadFile) -> Imported:
    """The file as it was read. Raises SyntaxProblemError, RulesFileUnreadable."""
    root = parse_json(file, text)
    imported = Imported(file)
    top = fields(root)
    if isinstance(root, SequenceNode) or ("rules" in top and "route" not in top):
        entries = words(root) if isinstance(root, SequenceNode) else _set_entries(imported, top)
        imported.networks = list_alone(imported, ((each.line, each.text) for each in entries))
        return imported
    route = fields(top.get("route"))
    imported.definitions = dict(outbounds(top, word(route.get("default_interface"))))
    imported.final = word(route.get("final")) or next(iter(imported.definitions), "direct")
    imported.final_line = route["final"].line if "final" in route else 0
    imported.definitions.setdefault("direct", Fixed.DIRECT)
    _note_settings(imported, root, TOP_READ)
    _note_settings(imported, top.get("route"), ROUTE_READ)
    RouteRules(imported, route, read_file, auto_redirect=_has_auto_redirect(top)).read()
    return imported


def _has_auto_redirect(top: dict[str, Node]) -> bool:
    inbounds = (fields(each) for each in items(top.get("inbounds")))
    return any(is_true(each.get("auto_redirect")) for each in inbounds)


def _note_settings(imported: Imported, node: Node | None, read: Sequence[str]) -> None:
    if not isinstance(node, MappingNode):
        return
    for key, _ in node.entries():
        if isinstance(key, Scalar) and key.text not in read:
            imported.note(key.line, key.text, NOT_A_RULE)


def _set_entries(imported: Imported, top: dict[str, Node]) -> Iterator[Scalar]:
    """The networks of a rule set's rules. Names and countries stand beside them as alternatives; a
    rule that any other condition narrows is left out."""
    for rule in items(top.get("rules")):
        found = set_fields(rule)
        others = left_out(found)
        for key, why in others:
            imported.note(rule.line, key, why)
        narrowing = sorted(found.keys() - {"ip_cidr", "type", *(key for key, _ in others)})
        for key in narrowing:
            why = REASONS.get(key, "a list has networks alone, without further conditions")
            imported.note(rule.line, key, why)
        if not narrowing:
            yield from words(found.get("ip_cidr"))
