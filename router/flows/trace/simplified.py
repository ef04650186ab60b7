"""A filter of which a part is known: what is left of it.

Always true: what is left matches the packets that the filter matches, of those for which the known
part is as it was said to be. NOTHING and EVERYTHING are no parts of another tree.

Must not know: packets; who knows the part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Final

from router.flows.trace.fields import Fields
from router.flows.trace.words import (
    EVERYTHING,
    And,
    Dropped,
    Net,
    Not,
    Or,
    Policy,
    Primitive,
    RuleNumber,
    Tree,
)

NOTHING: Final = Or(())
"""No packet matches it."""

Known = Callable[[Primitive], bool | None]
"""Whether a primitive is true of the packets in question; None where that is not known."""


def simplified(tree: Tree, known: Known) -> Tree:
    """What is left."""
    match tree:
        case And(parts):
            return _joined((simplified(part, known) for part in parts), And, EVERYTHING, NOTHING)
        case Or(parts):
            return _joined((simplified(part, known) for part in parts), Or, NOTHING, EVERYTHING)
        case Not(primitive):
            found = known(primitive)
            return _constant(None if found is None else not found, tree)
        case _:
            return _constant(known(tree), tree)


def of_forwarded(tree: Tree) -> Tree:
    """What a filter says of packets that are not dropped."""
    return simplified(tree, lambda primitive: False if isinstance(primitive, Dropped) else None)


def of_rule(tree: Tree, policy: str | None, rule: int | None) -> Tree:
    """What it says of those that are not dropped and to which a policy applies, because of a rule,
    0 for the default; None: because of none."""

    def known(primitive: Primitive) -> bool | None:
        match primitive:
            case Dropped():
                return False
            case Policy(name):
                return name == policy
            case RuleNumber(number):
                return number == rule
            case _:
                return None

    return simplified(tree, known)


def of_pair(tree: Tree, fields: Fields, decided: tuple[str, int] | None) -> Tree:
    """What it says of packets with the addresses of `fields`. decided: policy and rule of all of
    them; None where that is not known."""
    ends = ip_address(fields.source), ip_address(fields.destination)

    def known(primitive: Primitive) -> bool | None:
        match primitive:
            case Net(network):
                return any(end in network for end in ends)
            case Policy(name):
                return None if decided is None else name == decided[0]
            case RuleNumber(number):
                return None if decided is None else number == decided[1]
            case _:
                return None

    return simplified(tree, known)


def _constant(found: bool | None, tree: Tree) -> Tree:
    if found is None:
        return tree
    return EVERYTHING if found else NOTHING


def _joined(
    parts: Iterable[Tree], kind: type[And] | type[Or], neutral: Tree, deciding: Tree
) -> Tree:
    kept = []
    for part in parts:
        if part == deciding:
            return deciding
        if part != neutral:
            kept.append(part)
    return kept[0] if len(kept) == 1 else kind(tuple(kept))
