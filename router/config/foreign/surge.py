"""Profiles of Surge, and rule sets by themselves: text in sections.

Rules with `pre-matching` come before all others. What is behind FINAL is never reached.

Sources: https://manual.nssurge.com, pages of rules, policies, policy groups and rule sets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from router.config.foreign.conditions import UntranslatableError
from router.config.foreign.lists import ReadFile, list_alone, list_lines
from router.config.foreign.model import (
    Choice,
    Definition,
    Fixed,
    ForeignRule,
    Group,
    Imported,
    InterfaceWay,
    Match,
    ProxyWay,
    Unsupported,
)
from router.config.foreign.rule_words import Dialect, Words, split
from router.config.foreign.sets import RuleSets
from router.config.problems import quoted

SECTION: Final = re.compile(r"\[([^\]]+)\]")
COMMENT: Final = re.compile(r"\s(?://|#|;).*")
INCLUDE: Final = "#!include"
REJECTS: Final = {
    "REJECT": Fixed.REJECT,
    "REJECT-NO-DROP": Fixed.REJECT,
    "REJECT-TINYGIF": Fixed.REJECT,
    "REJECT-DROP": Fixed.DROP,
}
BUILT_IN: Final[Mapping[str, Definition]] = {"DIRECT": Fixed.DIRECT, **REJECTS}
IOS: Final = ("CELLULAR", "CELLULAR-ONLY", "HYBRID", "NO-HYBRID")
FIRST: Final = ("select", "fallback")
MEASURED: Final = ("url-test", "load-balance", "smart")
LAN: Final = (
    "IP-CIDR,192.168.0.0/16",
    "IP-CIDR,10.0.0.0/8",
    "IP-CIDR,172.16.0.0/12",
    "IP-CIDR,127.0.0.0/8",
    "IP-CIDR,100.64.0.0/10",
    "IP-CIDR6,fe80::/10",
)
"""The addresses of the built-in rule set LAN, as the manual lists them."""
NOT_A_RULE: Final = "a section of that program's settings, no rule"
URL: Final = re.compile(r"[a-z]+://", re.IGNORECASE)
READ: Final = ("Proxy", "Proxy Group", "Rule")

Lines = list[tuple[int, str]]


@dataclass(slots=True)
class _Profile:
    """Lines by section, and where the sections begin."""

    sections: dict[str, Lines] = field(default_factory=dict)
    begins: dict[str, int] = field(default_factory=dict)


def read_surge(file: str, text: str, read_file: ReadFile) -> Imported:
    """The file as it was read. Raises RulesFileUnreadable."""
    imported = Imported(file)
    profile = _sections(imported, text)
    if not profile.sections:
        imported.networks = list_alone(imported, list_lines(text))
        return imported
    imported.definitions = dict(BUILT_IN)
    for name in IOS:
        imported.definitions[name] = Unsupported(name, "a policy of iOS alone", 0)
    imported.definitions |= dict(_policies(profile.sections.get("Proxy", [])))
    imported.definitions |= dict(_groups(profile.sections.get("Proxy Group", [])))
    for section, line in profile.begins.items():
        if section not in READ and not section.startswith("Ruleset "):
            imported.note(line, f"[{section}]", NOT_A_RULE)
    dialect = _dialect(imported, profile, read_file)
    _read_rules(imported, profile.sections.get("Rule", []), dialect)
    return imported


def _sections(imported: Imported, text: str) -> _Profile:
    profile = _Profile()
    lines: Lines | None = None
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.strip()
        heading = SECTION.fullmatch(bare)
        if heading is not None:
            profile.begins.setdefault(heading[1].strip(), number)
            lines = profile.sections.setdefault(heading[1].strip(), [])
        elif bare.startswith(INCLUDE):
            imported.note(number, bare, "another file: import that one too")
        elif bare and not bare.startswith(("#", ";", "//")) and lines is not None:
            lines.append((number, bare))
    return profile


def _policies(lines: Lines) -> Iterator[tuple[str, Definition]]:
    for line, text in lines:
        name, _, value = text.partition("=")
        yield name.strip(), _policy(name.strip(), line, *_arguments(value))


def _arguments(value: str) -> tuple[list[str], dict[str, str]]:
    """Those by their place, and those by their name."""
    placed: list[str] = []
    by_name: dict[str, str] = {}
    for part in value.split(","):
        name, equals, given = part.partition("=")
        if equals and placed and re.fullmatch(r"\s*[a-z0-9-]+\s*", name):
            by_name[name.strip()] = given.strip().strip('"')
        else:
            placed.append(part.strip().strip('"'))
    return placed, by_name


def _policy(name: str, line: int, placed: list[str], by_name: dict[str, str]) -> Definition:
    kind = placed[0].lower()
    interface = by_name.get("interface")
    if kind == "direct":
        return InterfaceWay(name, interface, line) if interface else Fixed.DIRECT
    if kind.upper() in REJECTS:
        return REJECTS[kind.upper()]
    if kind == "socks5-tls":
        return Unsupported(name, "SOCKS5 by TLS is not possible here", line)
    if kind != "socks5":
        return Unsupported(name, f"there is no way out of type {kind[:40]} here", line)
    if len(placed) < 3:
        return Unsupported(name, "it has no server and port", line)
    port = placed[2]
    return ProxyWay(
        name,
        placed[1],
        int(port[:9]) if port.isascii() and port.isdecimal() else -1,
        line,
        by_name.get("username") or (placed[3] if len(placed) > 3 else None),
        by_name.get("udp-relay") == "true",
        by_name.get("underlying-proxy"),
        interface,
    )


def _groups(lines: Lines) -> Iterator[tuple[str, Definition]]:
    for line, text in lines:
        name, _, value = text.partition("=")
        placed, by_name = _arguments(value)
        kind, *members = placed
        if kind not in (*FIRST, *MEASURED):
            why = f"the group ({kind[:40]}) depends on the state of the device"
            yield name.strip(), Unsupported(name.strip(), why, line)
            continue
        choice = Choice.FIRST if kind in FIRST else Choice.MEASURED
        complete = not any(
            each in by_name
            for each in ("policy-path", "include-all-proxies", "include-other-group")
        )
        group = Group(name.strip(), kind, tuple(members), choice, line, complete)
        yield name.strip(), group


def _dialect(imported: Imported, profile: _Profile, read_file: ReadFile) -> Dialect:
    def find(name: str) -> Sequence[Match]:
        file, lines = _rule_set(profile, read_file, name)
        return sets.classical(lines, dialect, file)

    sets = RuleSets(imported, find)
    dialect = Dialect(sets, "DEST-PORT", "PROTOCOL", {"UDP": "udp"}, families_apart=True, lan=False)
    return dialect


def _rule_set(profile: _Profile, read_file: ReadFile, name: str) -> tuple[str, Lines]:
    """Its file, for notes, and its lines. Raises UntranslatableError."""
    if name == "LAN":
        return "", [(0, each) for each in LAN]
    if name == "SYSTEM":
        raise UntranslatableError("it matches names and programs, and rules here match addresses")
    if f"Ruleset {name}" in profile.sections:
        return "", profile.sections[f"Ruleset {name}"]
    if URL.match(name):
        raise UntranslatableError(
            "its list is fetched from a URL, which is not done here: save it beside the "
            "configuration and write its path"
        )
    file, text = read_file(name)
    return file, list(list_lines(text))


def _read_rules(imported: Imported, lines: Lines, dialect: Dialect) -> None:
    early: list[ForeignRule] = []
    is_reached = True
    for line, text in lines:
        if not is_reached:
            imported.note(line, text, "never reached: FINAL stands before it")
            continue
        is_reached = _read_rule(imported, line, COMMENT.sub("", text).strip(), dialect, early)
    imported.rules[:0] = early
    if is_reached:
        imported.final = "DIRECT"
        imported.note_change(0, "no FINAL rule", "a profile needs one; DIRECT is assumed")


def _read_rule(
    imported: Imported, line: int, text: str, dialect: Dialect, early: list[ForeignRule]
) -> bool:
    """Whether a rule behind this one is reached."""
    try:
        parts = [part.strip().strip('"') for part in split(text)]
        kind = parts[0].upper()
        if kind == "FINAL" and len(parts) > 1:
            imported.final, imported.final_line = parts[1], line
            return False
        if len(parts) < 3:
            raise UntranslatableError(f"{quoted(kind, 20)} without value and policy")  # noqa: TRY301
        parameters = tuple(parts[3:])
        matches = dialect.condition(Words(kind, parts[1], parameters))
    except UntranslatableError as error:
        imported.note(line, text, str(error))
        return True
    for what, why in dialect.partly:
        imported.note(line, what, why)
    dialect.partly.clear()
    if matches:
        rule = ForeignRule(matches, parts[2], line)
        is_early = "pre-matching" in parameters and isinstance(REJECTS.get(parts[2]), Fixed)
        (early if is_early else imported.rules).append(rule)
    return True
