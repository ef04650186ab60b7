"""The rules of sing-box's `route`, and the rule sets that they name.

Must not know: outbounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from router.config.document import Node, SyntaxProblemError
from router.config.foreign.conditions import Combiner, UntranslatableError, either
from router.config.foreign.json_document import parse_json
from router.config.foreign.lists import MOST_NETWORKS, ReadFile
from router.config.foreign.model import Fixed, ForeignRule, Imported, Match
from router.config.foreign.nodes import fields, items, named, set_fields, word, words
from router.config.foreign.sing_box_conditions import (
    CONDITIONS,
    Groups,
    left_out,
    read_groups,
    shown,
)

METHODS: Final = {"default": Fixed.REJECT, "drop": Fixed.DROP, "reply": Fixed.REPLY}
NOT_FINAL: Final = ("sniff", "resolve", "route-options")
DEEPEST: Final = 8
"""Logical rules within each other."""


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules of a set that are understood."""

    rules: list[Groups]
    is_single: bool
    """Whether one plain rule is all that the set has."""

    def joined(self, own: Groups, combiner: Combiner) -> Iterator[tuple[Match, ...]]:
        """What a rule with conditions of its own matches by this set. The groups of a single rule
        are merged with its own; of several rules one has to match beside them (as sing-box does
        since 1.13.4). Raises UntranslatableError."""
        for each in self.rules:
            if self.is_single:
                yield own.merged(each, combiner).matches(combiner)
            else:
                yield combiner.both(own.matches(combiner), each.matches(combiner))


class RouteRules:
    """Reads the rules into what is imported."""

    def __init__(
        self,
        imported: Imported,
        route: dict[str, Node],
        read_file: ReadFile,
        *,
        auto_redirect: bool = False,
    ) -> None:
        self._imported = imported
        self._auto_redirect = auto_redirect
        self._rules = items(route.get("rules"))
        self._sets = {name: found for name, _, found in named(route.get("rule_set"))}
        self._read_file = read_file
        self._known: dict[str, RuleSet | UntranslatableError] = {}
        self._networks = 0
        self._combiner = Combiner()

    def read(self) -> None:
        for node in self._rules:
            found = set_fields(node)
            try:
                policy = self._policy(found)
                matches = self._condition(node, found, 0)
            except UntranslatableError as error:
                self._imported.note(node.line, shown(found), str(error))
                continue
            if matches:
                self._imported.rules.append(ForeignRule(matches, policy, node.line))

    def _policy(self, found: dict[str, Node]) -> str:
        """Raises UntranslatableError."""
        action = word(found.get("action")) or "route"
        outbound = word(found.get("outbound"))
        if action == "reject":
            method = word(found.get("method")) or "default"
            if method not in METHODS:
                raise UntranslatableError(f"there is no method {method}")
            return self._fixed(METHODS[method])
        if action == "bypass" and outbound is None:
            if not self._auto_redirect:
                raise UntranslatableError("'bypass' without outbound is for auto_redirect alone")
            return self._fixed(Fixed.DIRECT)
        if action in NOT_FINAL:
            raise UntranslatableError(f"'{action}' decides nothing about the way out")
        if action not in ("route", "bypass"):
            raise UntranslatableError(f"there is no action like '{action}' here")
        if outbound is None:
            raise UntranslatableError("it names no outbound")
        return outbound

    def _fixed(self, fixed: Fixed) -> str:
        """A name for what has none there; blanks keep it apart from those of outbounds."""
        name = f" {fixed.value} "
        self._imported.definitions[name] = fixed
        return name

    def _condition(self, node: Node, found: dict[str, Node], depth: int) -> tuple[Match, ...]:
        """Raises UntranslatableError."""
        if depth > DEEPEST:
            raise UntranslatableError(f"conditions are nested more than {DEEPEST} deep")
        if "invert" in found:
            if left_out(found) or {"rule_set", "rules"} & found.keys():
                raise UntranslatableError("everything but names, countries or sets is no rule here")
            within = self._condition(node, _without(found, "invert"), depth + 1)
            return self._combiner.negated(within)
        if word(found.get("type")) == "logical":
            return self._logical(found, depth)
        groups = self._groups(node, found, self._imported.file)
        if not found.keys() & CONDITIONS:
            raise UntranslatableError("it has no condition")
        if "rule_set" not in found:
            return groups.matches(self._combiner)
        conditions: list[tuple[Match, ...]] = []
        for name in words(found["rule_set"]):
            try:
                conditions += self._of_set(name.text).joined(groups, self._combiner)
            except UntranslatableError as error:
                self._imported.note(name.line, f"the rule set {name.text} in a rule", str(error))
        return either(conditions)

    def _logical(self, found: dict[str, Node], depth: int) -> tuple[Match, ...]:
        is_and = word(found.get("mode")) == "and"
        conditions: list[tuple[Match, ...]] = []
        for node in items(found.get("rules")):
            each = set_fields(node)
            try:
                conditions.append(self._condition(node, each, depth + 1))
            except UntranslatableError as error:
                if is_and:
                    raise
                self._imported.note(node.line, f"{shown(each)} in an or", str(error))
        if not is_and:
            return either(conditions)
        matches: tuple[Match, ...] = (Match(),) if conditions else ()
        for condition in conditions:
            matches = self._combiner.both(matches, condition)
        return matches

    def _groups(self, node: Node, found: dict[str, Node], file: str) -> Groups:
        """Raises UntranslatableError."""
        groups = read_groups(found)
        self._networks += len(groups.networks or ())
        if self._networks > MOST_NETWORKS:
            raise UntranslatableError(f"there are more than {MOST_NETWORKS:,} networks up to here")
        for key, why in left_out(found):
            self._imported.note(found[key].line or node.line, f"{key} of a rule", why, file=file)
        return groups

    def _of_set(self, name: str) -> RuleSet:
        """Raises UntranslatableError."""
        if name not in self._known:
            try:
                self._known[name] = self._read_set(name)
            except UntranslatableError as error:
                self._known[name] = error
        known = self._known[name]
        if isinstance(known, UntranslatableError):
            raise UntranslatableError(str(known))
        return known

    def _read_set(self, name: str) -> RuleSet:
        """Raises UntranslatableError."""
        found = self._sets.get(name)
        if found is None:
            raise UntranslatableError("no rule set of that tag is defined")
        file, rules = self._imported.file, items(found.get("rules"))
        if word(found.get("type")) not in (None, "inline"):
            file, rules = self._from_file(found)
        return RuleSet(list(self._read_rules(file, rules)), is_single=len(rules) == 1)

    def _read_rules(self, file: str, rules: list[Node]) -> Iterator[Groups]:
        """Those of a set that are understood; the others are noted."""
        for node in rules:
            each = set_fields(node)
            if word(each.get("type")) == "logical" or "invert" in each:
                why = "a logical or inverted rule in a rule set"
                self._imported.note(node.line, shown(each), why, file=file)
                continue
            try:
                if "rule_set" in each:
                    raise UntranslatableError("there are no rule sets within a rule set")  # noqa: TRY301
                if not each.keys() & CONDITIONS:
                    raise UntranslatableError("it has no condition")  # noqa: TRY301
                yield self._groups(node, each, file)
            except UntranslatableError as error:
                self._imported.note(node.line, shown(each), str(error), file=file)

    def _from_file(self, found: dict[str, Node]) -> tuple[str, list[Node]]:
        """Raises UntranslatableError."""
        path = word(found.get("path"))
        if word(found.get("format")) == "binary" or (path or "").endswith(".srs"):
            raise UntranslatableError(
                "its list is in the binary format srs: sing-box rule-set decompile makes JSON of it"
            )
        if word(found.get("type")) != "local" or path is None:
            raise UntranslatableError(
                "its list is fetched from a URL, which is not done here: save it beside the "
                "configuration and write type local with its path"
            )
        file, text = self._read_file(path)
        try:
            return file, items(fields(parse_json(file, text)).get("rules"))
        except SyntaxProblemError as error:
            raise UntranslatableError(f"the list {error.problem.as_line()}") from None


def _without(found: dict[str, Node], key: str) -> dict[str, Node]:
    return {name: node for name, node in found.items() if name != key}
