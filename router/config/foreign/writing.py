"""What was imported, as the text of a rules file, or of a list file.

Rules one after the other that differ in nothing but their networks become one.

Always true: the order of the rules is kept, as the first that matches decides in both programs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from router.config.cidr import Cidr
from router.config.foreign.model import (
    Fixed,
    Imported,
    Match,
    Ports,
    Skipped,
    Unsupported,
    shortened,
)
from router.config.foreign.policies import Policies
from router.config.writing import comment, flow_sequence, modeline, scalar

MOST_IN_A_LINE: Final = 4
ALL: Final = ("0.0.0.0/0", "::/0")
INSTEAD: Final = "'reject' stands in its place until you decide"


@dataclass(slots=True)
class _Written:
    """A rule to be written. was: the policy whose place `reject` takes."""

    policy: str
    networks: dict[str, None] | None
    ports: Ports | None
    protocols: frozenset[str] | None
    lines: list[int]
    was: str | None = None

    def takes(self, other: _Written) -> bool:
        """Whether the two can be one rule."""
        mine = (self.policy, self.was, self.ports, self.protocols)
        same = mine == (other.policy, other.was, other.ports, other.protocols)
        return same and self.networks is not None and other.networks is not None


def rules_text(imported: Imported, program: str) -> str:
    """The rules file. Adds to the notes what only becomes known here."""
    policies = Policies(imported)
    rules = list(_joined(_rules(imported, policies)))
    default, was = _policy(imported, policies, imported.final, imported.final_line)
    text = [
        modeline(),
        comment(f"From {imported.file}, by tunrouter import {program}."),
        "version: 1",
    ]
    if policies.lines:
        text += ["", "policies:"]
        text += (f"  {name}: {line}" for name, line in policies.lines.items())
    if rules:
        text += ["", "rules:"]
        text += (line for rule in rules for line in _lines(rule))
    text += ["", f"default: {default}{_was(was)}"]
    _note_unused(imported, policies)
    return "\n".join(text) + "\n"


def list_text(networks: Iterable[Cidr]) -> str:
    """The list file."""
    return "".join(f"{network}\n" for network in dict.fromkeys(map(_plain, networks)))


def _rules(imported: Imported, policies: Policies) -> Iterator[_Written]:
    for rule in imported.rules:
        if isinstance(policies.outcome(rule.policy), Skipped):
            continue
        policy, was = _policy(imported, policies, rule.policy, rule.line)
        for match in rule.matches:
            yield _Written(
                policy,
                _networks(match),
                match.ports,
                match.protocols,
                [rule.line],
                was,
            )


def _policy(imported: Imported, policies: Policies, name: str, line: int) -> tuple[str, str | None]:
    """The policy here, and the one whose place `reject` takes."""
    found = policies.outcome(name)
    if isinstance(found, Fixed):
        return found.value, None
    if isinstance(found, Unsupported | Skipped):
        why = f"{found.why}: {INSTEAD}" if isinstance(found, Unsupported) else INSTEAD
        imported.note_change(line, f"the policy {name}", why)
        return Fixed.REJECT.value, name
    return policies.name_of(found), None


def _networks(match: Match) -> dict[str, None] | None:
    if match.networks is None:
        return None
    return dict.fromkeys(map(_plain, match.networks))


def _plain(network: Cidr) -> str:
    return str(network)


def _joined(rules: Iterable[_Written]) -> Iterator[_Written]:
    held: _Written | None = None
    for rule in rules:
        if held is not None and held.takes(rule):
            assert held.networks is not None
            held.networks |= rule.networks or {}
            held.lines += rule.lines
            continue
        if held is not None:
            yield held
        held = rule
    if held is not None:
        yield held


def _lines(rule: _Written) -> Iterator[str]:
    networks = ALL if rule.networks is None else tuple(rule.networks)
    conditions = "".join(_conditions(rule))
    remark = f"  # {_numbers(rule.lines)}{_was(rule.was, '; ')}"
    if len(networks) <= MOST_IN_A_LINE:
        cidr = flow_sequence(networks)
        yield f"  - {{cidr: {cidr}{conditions}, policy: {rule.policy}}}{remark}"
        return
    yield f"  - policy: {rule.policy}{remark}"
    yield from (f"    {each.removeprefix(', ')}" for each in _conditions(rule))
    yield "    cidr:"
    yield from (f"      - {scalar(network)}" for network in networks)


def _conditions(rule: _Written) -> Iterator[str]:
    if rule.protocols is not None:
        yield f", protocol: {flow_sequence(sorted(rule.protocols))}"
    if rule.ports is not None:
        ports = [str(low) if low == high else f"{low}-{high}" for low, high in rule.ports]
        yield f", port: {ports[0] if len(ports) == 1 else '[' + ', '.join(ports) + ']'}"


def _numbers(lines: list[int]) -> str:
    first, last = min(lines), max(lines)
    return f"line {first}" if first == last else f"lines {first}-{last}"


def _was(names: str | None, before: str = "  # ") -> str:
    return f"{before}was {shortened(names)}" if names else ""


def _note_unused(imported: Imported, policies: Policies) -> None:
    """Proxies that nothing here corresponds to and that no rule has led to."""
    for name, found in imported.definitions.items():
        if isinstance(found, Unsupported):
            policies.outcome(name)
