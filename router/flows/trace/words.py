"""The filter of a trace, from its words to a tree.

    filter   = term { "or" term }
    term     = factor { "and" factor }
    factor   = "not" factor | "(" filter ")" | primitive
    primitive = "host" ADDRESS | "net" CIDR | "port" N | "icmp" | "tcp" | "udp"
              | "policy" NAME | "rule" N | "dropped"

Always true: a tree has no `Not` but at primitives, so that a part of it that is not known can be
replaced by "it may match" wherever it stands.

Must not know: packets; which policies and rules there are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

from router.config.problems import quoted
from router.config.spelling import nearest
from router.policy.match.traffic import LAST_PORT

PROTOCOLS: Final = ("icmp", "tcp", "udp")
WITH_VALUE: Final = ("host", "net", "port", "policy", "rule")
JOINING: Final = ("and", "or", "not", "(", ")")
WORDS: Final = (*WITH_VALUE, *PROTOCOLS, "dropped", "and", "or", "not")
DEEPEST: Final = 50
"""Levels of parentheses and `not`."""
TOKEN: Final = re.compile(r"[()]|[^\s()]+")


class BadFilterError(ValueError):
    """The message names the value and the remedy."""


@dataclass(frozen=True, slots=True)
class Net:
    """Source or destination is in a network; a host is a network of one address."""

    network: IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Port:
    """TCP or UDP, by source or destination port."""

    number: int


@dataclass(frozen=True, slots=True)
class Protocol:
    """By name, as in PROTOCOLS."""

    name: str


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy that applied."""

    name: str


@dataclass(frozen=True, slots=True)
class RuleNumber:
    """The rule that decided; 0 is the default."""

    number: int


@dataclass(frozen=True, slots=True)
class Dropped:
    """It was not forwarded, for a reason."""


Primitive = Net | Port | Protocol | Policy | RuleNumber | Dropped


@dataclass(frozen=True, slots=True)
class Not:
    of: Primitive


@dataclass(frozen=True, slots=True)
class And:
    all: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Or:
    any: tuple[Tree, ...]


Tree = Primitive | Not | And | Or
EVERYTHING: Final = And(())


def parse(text: str) -> Tree:
    """The tree of a filter; of none, EVERYTHING. Raises BadFilterError."""
    tokens = TOKEN.findall(text)
    if not tokens:
        return EVERYTHING
    parser = _Parser(tokens)
    tree = parser.alternatives(0, negated=False)
    if parser.rest:
        raise BadFilterError(_unexpected(parser.rest[0]))
    return tree


def policies(tree: Tree) -> list[str]:
    """The names of policies in a tree."""
    return [each.name for each in _primitives(tree) if isinstance(each, Policy)]


def rules(tree: Tree) -> list[int]:
    """The numbers of rules in a tree."""
    return [each.number for each in _primitives(tree) if isinstance(each, RuleNumber)]


def _primitives(tree: Tree) -> list[Primitive]:
    if isinstance(tree, And):
        return [each for part in tree.all for each in _primitives(part)]
    if isinstance(tree, Or):
        return [each for part in tree.any for each in _primitives(part)]
    return [tree.of if isinstance(tree, Not) else tree]


class _Parser:
    """Reads tokens from the left. `negated`: whether the tree is wanted of the contrary."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self.rest = list(tokens)

    def alternatives(self, depth: int, *, negated: bool) -> Tree:
        parts = [self._conjunction(depth, negated=negated)]
        while self._takes("or"):
            parts.append(self._conjunction(depth, negated=negated))
        return _joined(parts, And if negated else Or)

    def _conjunction(self, depth: int, *, negated: bool) -> Tree:
        parts = [self._factor(depth, negated=negated)]
        while self._takes("and"):
            parts.append(self._factor(depth, negated=negated))
        return _joined(parts, Or if negated else And)

    def _factor(self, depth: int, *, negated: bool) -> Tree:
        if depth > DEEPEST:
            raise BadFilterError(f"more than {DEEPEST} levels of parentheses: use fewer")
        if self._takes("not"):
            return self._factor(depth + 1, negated=not negated)
        if self._takes("("):
            tree = self.alternatives(depth + 1, negated=negated)
            if not self._takes(")"):
                raise BadFilterError("a parenthesis is not closed: add ')'")
            return tree
        primitive = self._primitive()
        return Not(primitive) if negated else primitive

    def _primitive(self) -> Primitive:
        if not self.rest:
            raise BadFilterError("the filter ends too early: write what is to match, as in tcp")
        word = self.rest.pop(0)
        if word in PROTOCOLS:
            return Protocol(word)
        if word == "dropped":
            return Dropped()
        if word not in WITH_VALUE:
            raise BadFilterError(_unexpected(word))
        if not self.rest or self.rest[0] in JOINING:
            raise BadFilterError(f"{word} needs a value, as in {EXAMPLES[word]}")
        return _with_value(word, self.rest.pop(0))

    def _takes(self, word: str) -> bool:
        found = bool(self.rest) and self.rest[0] == word
        if found:
            del self.rest[0]
        return found


EXAMPLES: Final = {
    "host": "host 192.0.2.1",
    "net": "net 192.0.2.0/24",
    "port": "port 443",
    "policy": "policy home",
    "rule": "rule 3",
}


def _with_value(word: str, value: str) -> Primitive:
    match word:
        case "host":
            try:
                return Net(ip_network(ip_address(value.strip("[]"))))
            except ValueError:
                raise BadFilterError(_bad_value(word, value, "an address")) from None
        case "net":
            try:
                return Net(ip_network(value, strict=False))
            except ValueError:
                raise BadFilterError(_bad_value(word, value, "a network")) from None
        case "port":
            return Port(_number(word, value, LAST_PORT, f"a number from 0 to {LAST_PORT}"))
        case "policy":
            return Policy(value)
        case _:
            return RuleNumber(_number(word, value, 10**9, "a number, 0 for the default"))


def _number(word: str, value: str, most: int, what: str) -> int:
    if not (value.isascii() and value.isdecimal() and int(value[:10]) <= most):
        raise BadFilterError(_bad_value(word, value, what))
    return int(value[:10])


def _bad_value(word: str, value: str, what: str) -> str:
    return f"{word} cannot be {quoted(value)}: it is {what}, as in {EXAMPLES[word]}"


def _unexpected(word: str) -> str:
    if word in JOINING:
        return f"{quoted(word)} stands where it cannot: join primitives by and, or, not"
    if word in (*PROTOCOLS, *WITH_VALUE, "dropped"):
        return f"{quoted(word)} follows without 'and' or 'or': write one before it"
    close = nearest(word, WORDS)
    hint = f"did you mean {quoted(close)}?" if close else f"the words are {', '.join(WORDS)}"
    return f"{quoted(word)} is no word of a filter: {hint}"


def _joined(parts: list[Tree], kind: type[And] | type[Or]) -> Tree:
    return parts[0] if len(parts) == 1 else kind(tuple(parts))
